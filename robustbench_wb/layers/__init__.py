"""White-box measures: what the layers of a transformer do to the token stream. Formulas: docs/layers.md."""
