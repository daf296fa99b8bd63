"""Comparisons of runs, and of a sweep with a published table."""
