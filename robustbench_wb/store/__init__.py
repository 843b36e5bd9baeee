"""Storage of records and versioned score tables on Delta Lake, baseline files, and merging of results."""
