"""Inputs of other lengths than those in training."""
