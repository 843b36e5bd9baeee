"""Import of checkpoints of other implementations: rules from their weight names to ours, one file per family."""
