"""Where models from outside come from: one file per provider, found through ``models.external``."""
