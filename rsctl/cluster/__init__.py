"""Where tasks run: one protocol, the local queue behind it, and what every backend starts."""
