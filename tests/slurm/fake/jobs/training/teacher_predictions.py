"""As `jobs.training.teacher_predictions`, for tests of scheduling: the same as a training here."""

from jobs.training.train import main

__all__ = ["main"]
