from jobs.count import main

__all__ = ["main"]
