"""How far a robustness number may be believed: a probe of the subject, checks of the attack, and a grade."""
