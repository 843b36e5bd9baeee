"""Renderers: data in, text out. They decide nothing."""
