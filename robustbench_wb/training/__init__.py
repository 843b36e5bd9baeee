"""Training of models: recipes, the training loop, and cached checkpoints."""
