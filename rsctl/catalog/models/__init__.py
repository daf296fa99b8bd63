"""The architectures, one file each; their code is in `jobs/models/architectures/`, in a file of the same name."""
