"""Counts → what a paper prints."""
