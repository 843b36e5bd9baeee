"""Shortcut baselines, which use very little of a long input; a meaningful score must exceed theirs."""
