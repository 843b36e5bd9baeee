"""Headline numbers of architectures: mean and deviation over seeds, with an interval over seeds and samples."""
