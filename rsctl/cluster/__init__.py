"""Backends that run tasks: the local queue and SLURM, behind one protocol."""
