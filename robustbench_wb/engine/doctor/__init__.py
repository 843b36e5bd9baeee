"""Examination of a model before a long run: whether it meets what every suite assumes, and what a suite will cost."""
