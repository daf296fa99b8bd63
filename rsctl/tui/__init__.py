"""The dashboard: shows the store and controls sweeps. Blocking work never runs on the UI thread."""
