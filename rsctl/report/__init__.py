"""Counts → the tables and figures of a paper."""
