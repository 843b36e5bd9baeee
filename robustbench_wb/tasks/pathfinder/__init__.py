"""Pathfinder: are two dots joined by a dashed curve? Images made to a stated geometry, and a tracer that reads them."""
