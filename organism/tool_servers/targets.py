"""The command or the address of an MCP server. Pure."""

from pathlib import Path

import msgspec


class Command(msgspec.Struct, frozen=True):
    """A server that is run as a child process.

    Attributes:
        command: The program and its arguments.
        environment: Variables beside ``HOME``, ``PATH`` and the like.
        folder: Its working folder.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = {}
    folder: Path = Path()


class WebAddress(msgspec.Struct, frozen=True):
    """A server reached over streamable HTTP.

    Attributes:
        url: Its address.
        token: Sent as a bearer token.
    """

    url: str
    token: str | None = None
