"""HTML report of a score table, optionally compared with an earlier table, as one self-contained file."""
