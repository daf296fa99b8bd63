"""Dialogs that any mode opens."""
