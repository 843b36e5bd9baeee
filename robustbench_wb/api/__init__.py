"""Python API: one function per verb, keyword arguments in, typed frozen results out."""
