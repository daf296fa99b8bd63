"""Checkpoints that others published: what a file holds, which architecture and normalisation fit, and whether it classifies."""
