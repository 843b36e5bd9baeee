"""ListOps: nested operations on digits, generated to the published parameters, and what shortcuts reach on them."""
