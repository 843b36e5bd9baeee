"""Adversarial attacks on text classifiers: on word vectors, by word substitution and by misspellings."""
