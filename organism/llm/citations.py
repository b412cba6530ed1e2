"""What the words of an answer rest on, where a provider says so. Pure."""

from typing import Any, Literal

import msgspec


class Citation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A source of a piece of text.

    Attributes:
        url: Where it is to be found; empty for what has no address, such as a document of the request.
        title: What it is called.
        start: Where in the text the words begin that rest on it, in characters.
        end: Where they end.
        quoted: What it says itself, where that is given.
        native: Just as its provider has written it.
        format: In which format that is; empty where it is in none that any client has a word for.
    """

    url: str = ""
    title: str = ""
    start: int = 0
    end: int = 0
    quoted: str = ""
    native: dict[str, Any] = {}
    format: Literal["", "chat", "messages", "responses"] = ""
