"""Adversaries: the native engine, its attacks, and the torchattacks provider."""
