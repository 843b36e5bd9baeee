"""Verification of stored tables: columns recomputed from records."""
