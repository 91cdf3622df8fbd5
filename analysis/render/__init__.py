"""Tables and figures -> files: Markdown, LaTeX, CSV, PDF, PNG, and one HTML page."""
