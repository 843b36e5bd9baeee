"""Pathfinder: are two dots joined by a dashed curve? Generator of images with a given geometry, and a tracer."""
