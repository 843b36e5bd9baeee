"""White-box measures of what each layer of a transformer does to the token stream. Formulas: docs/layers.md."""
