"""Decisions from records, one package per feature: compare, gate, claims, verify, leaderboard, curves. No torch."""
