"""Credibility of a robustness number: a probe of the model, checks of each attack, and a grade."""
