"""Texts that anybody may have written, as a database takes them. Pure."""

import re


def quoted(text: str) -> str:
    """Return a text that PostgreSQL takes: it refuses the character zero."""
    return text.replace("\x1a", "\x1a\x1a").replace("\0", "\x1a0") if "\0" in text or "\x1a" in text else text


def unquoted(text: str) -> str:
    """Return the text that :func:`quoted` was given."""
    return re.sub("\x1a(.)", lambda found: "\0" if found[1] == "0" else "\x1a", text) if "\x1a" in text else text
