"""Stressors: everything that perturbs inputs or training data. One file per family of small immutable objects."""
