"""Continuous-integration gate: decisions on a version against a baseline, margins and noise floor."""
