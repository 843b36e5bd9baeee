"""Training as a cached stage: recipe, loop, checkpoint."""
