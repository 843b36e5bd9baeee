"""Declarative suite files and their loader."""
