"""Python API: one function per verb, in a module of the same name; keyword arguments in, typed frozen results out."""
