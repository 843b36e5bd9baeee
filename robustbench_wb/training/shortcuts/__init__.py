"""Baselines that read next to nothing of a long input: what a score must beat before it means anything."""
