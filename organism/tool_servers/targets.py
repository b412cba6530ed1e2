"""Where an MCP server is. Pure."""

from pathlib import Path

import msgspec


class Command(msgspec.Struct, frozen=True):
    """A server that is run here.

    Attributes:
        command: The program and its arguments.
        environment: What it is given besides ``HOME``, ``PATH`` and the like.
        folder: Where it runs.
    """

    command: tuple[str, ...]
    environment: dict[str, str] = {}
    folder: Path = Path()


class WebAddress(msgspec.Struct, frozen=True):
    """A server that is spoken to over streamable HTTP.

    Attributes:
        url: Its address.
        token: Sent as a bearer token.
    """

    url: str
    token: str | None = None
