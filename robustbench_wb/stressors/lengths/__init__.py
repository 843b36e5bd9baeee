"""Inputs of other lengths than those that a subject was trained on."""
