"""A data plane that never imports torch: tasks that do what a test asks of them."""
