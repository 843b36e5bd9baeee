"""From a request to records: plan the matrix, measure each cell, resume, report progress."""
