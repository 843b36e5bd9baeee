"""Corruptions of texts in five severities: slips of typing and reading, nothing that needs a list of synonyms."""
