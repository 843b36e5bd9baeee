"""Providers of external models, one file each; ``models.external`` selects them."""
