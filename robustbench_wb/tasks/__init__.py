"""Datasets behind one interface: embedded, from the hub, or from a local mirror."""
