"""Figures for a paper, through matplotlib."""
