"""Intervals, paired tests and multiplicity. numpy and scipy only."""
