"""The sweeps mode: sweeps, runs and tasks with a panel beside them."""
