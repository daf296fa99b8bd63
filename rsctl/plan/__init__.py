"""A sweep's points → runs, tasks and what they wait for."""
