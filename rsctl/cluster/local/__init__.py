"""The local backend: a queue on this machine, started by whoever submits."""
