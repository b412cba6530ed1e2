"""Usage reports as HTML and as Markdown."""
