"""Headline numbers of models over the versions of a table."""
