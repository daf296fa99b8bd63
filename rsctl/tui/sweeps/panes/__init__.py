"""The panes of the panel beside the sweeps, one per file."""
