"""Experiment trackers: one file each, behind one function type."""
