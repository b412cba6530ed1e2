"""The sections of the file, as types."""
