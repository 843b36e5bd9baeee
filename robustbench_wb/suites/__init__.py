"""Suites: declarative files of tasks, stressors and strengths, and their loader."""
