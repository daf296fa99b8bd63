"""Randomized smoothing from the terminal: the control plane. It never imports torch."""

__version__ = "0.1.0"
