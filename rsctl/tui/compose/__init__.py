"""The compose mode: a sweep file in a form."""
