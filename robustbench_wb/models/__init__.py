"""Variants: one backbone with three sockets (attention, residual rule, feed-forward)."""
