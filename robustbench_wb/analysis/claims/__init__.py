"""Claims files: sentences about robustness, tested on stored outcomes."""
