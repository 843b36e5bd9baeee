"""Adversarial attacks on images: the native search, its attacks, and the torchattacks provider."""
