"""The engine: makes a plan from a request, measures its cells, resumes interrupted runs, reports progress."""
