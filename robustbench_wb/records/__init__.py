"""Data of a measurement: records, identities, cell names, credibility checks and score rows."""
