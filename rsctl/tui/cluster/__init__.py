"""The cluster mode: queue, profiles, hardware and usage."""
