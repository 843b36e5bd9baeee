"""Checkpoints of other implementations: their names for weights, and ours. One file per family."""
