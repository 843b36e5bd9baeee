"""Paired comparison of two tables, sample by sample: alignment, differences, verdicts."""
