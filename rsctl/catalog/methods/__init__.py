"""One declaration per training method; the loss is in `jobs/methods/` under the same name."""
