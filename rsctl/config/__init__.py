"""Sweep files and rsctl.toml: schema, grids, defaults, and the specs of runs."""
