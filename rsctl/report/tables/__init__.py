"""Tables: Markdown, CSV, LaTeX and JSON of the same rows."""
