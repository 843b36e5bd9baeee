"""Built-in variants as data, one file per family. Their formulas are in docs/variants."""
