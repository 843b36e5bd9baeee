"""Leaderboards: ranks of models with simultaneous intervals, one ranking per panel."""
