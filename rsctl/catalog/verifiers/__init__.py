"""One declaration per verifier; the proof is in the module of the same name in `jobs.verifiers`."""
