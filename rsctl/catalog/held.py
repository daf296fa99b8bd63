"""Data sets that a task holds in memory."""

HELD_MOST = 8 * 2**30
"""Most bytes of images that a task holds in memory; larger data sets are read from their files whenever needed."""
HELD_SHARE = 0.5
"""Share of the memory that a task may use; the rest is for its network and the processes that decode."""
