"""The SLURM backend: job arrays through submitit, and what becomes of them."""
