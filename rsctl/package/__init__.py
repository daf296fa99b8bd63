"""Packages: one file with the results of a sweep, which anyone can unpack and verify.

`writing.pack` and `writing.members` make one, `unpacking.unpack` puts it into a store, `verifying.verify` recomputes its numbers.
"""
