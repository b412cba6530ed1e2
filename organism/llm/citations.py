"""Citations of an answer, as a provider reports them. Pure."""

from typing import Any, Literal

import msgspec


class Citation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The source of a piece of text.

    Attributes:
        url: Its address; empty for a source without one, such as a document of the request.
        title: Its title.
        start: Where the cited text begins, in characters of its part.
        end: Where it ends; 0 for the end of the part.
        quoted: The source's own words, where given.
        native: The citation as its provider wrote it.
        format: The format of :attr:`native`; empty if it has none.
    """

    url: str = ""
    title: str = ""
    start: int = 0
    end: int = 0
    quoted: str = ""
    native: dict[str, Any] = {}
    format: Literal["", "chat", "messages", "responses"] = ""
