"""Records and versioned score tables on Delta Lake."""
