from jobs.certify.count import main

__all__ = ["main"]
