"""ListOps: nested operations on digits. Generator with the published parameters, parser, and shortcut features."""
