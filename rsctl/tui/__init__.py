"""The dashboard: looks at the store, steers sweeps. Nothing that can block runs on its own thread."""
