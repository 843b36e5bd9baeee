"""What perturbs: one file per family, small immutable objects with one interface."""
