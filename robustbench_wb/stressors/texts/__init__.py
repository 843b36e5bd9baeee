"""Adversaries of text classifiers: in the space of word vectors, by swapped words and by misspelt ones."""
