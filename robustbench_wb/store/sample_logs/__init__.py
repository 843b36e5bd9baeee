"""Readers of per-sample logs that other evaluation tools write."""
