"""Results in the formats of other tools: a model card of Hugging Face, a model file of RobustBench."""
