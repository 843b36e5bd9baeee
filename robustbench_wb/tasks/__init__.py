"""Datasets behind one interface: embedded, generated, from the Hugging Face hub, or from a local mirror."""
