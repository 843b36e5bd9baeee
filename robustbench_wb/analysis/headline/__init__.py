"""Headline numbers: one robust accuracy per model and threat model, with interval, grade and rank."""
