"""Images, files and data URLs in requests."""
