"""Dirty data, in training or in tests. Not leakage, which is test data in the training split."""
