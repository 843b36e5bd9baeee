"""Accuracy against strength, length and attack budget; corruption errors."""
