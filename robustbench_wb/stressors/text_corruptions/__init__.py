"""Text corruptions in five severities: typing and reading errors that need no list of synonyms."""
