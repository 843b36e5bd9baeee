"""A table, and what changed against an earlier one, as one HTML file that needs nothing else."""
