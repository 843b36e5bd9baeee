"""Statistics as pure mathematics: intervals, paired tests, resampling, rank intervals, multiple-testing correction."""
