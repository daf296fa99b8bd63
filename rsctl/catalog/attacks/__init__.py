"""One declaration per attack; the search is in the module of the same name in `jobs.attacks`."""
