"""Fake tasks in the place of the data plane's."""
