"""Training of base classifiers: the loop, its checkpoints and metrics."""
