"""What a command has written, for people or for programs."""

import sys

import msgspec

from organism.cli import exits


def print_lines(lines: list[str], *, as_json: bool) -> int:
    """Print each on a line, or all as a JSON array."""
    text = msgspec.json.encode(lines).decode() if as_json else "\n".join(lines)
    sys.stdout.write(text + "\n")
    return exits.OK
