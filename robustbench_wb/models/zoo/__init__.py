"""The built-in variants, as data, one file per family. docs/variants has their formulas."""
