"""Plans a sweep: its points become runs and tasks with dependencies."""
