"""Contamination of training or test data. This is not leakage of test data into the training split."""
