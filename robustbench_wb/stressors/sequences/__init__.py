"""Sequences of slightly changing frames, after ImageNet-P (Hendrycks & Dietterich, ICLR 2019)."""
