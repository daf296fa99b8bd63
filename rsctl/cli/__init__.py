"""The command line: one module per group of commands; a command is a few lines."""
