"""Sampling: noisy inputs in, counts of classes out."""
