"""Reads blocks of Anthropic's messages that no other format has, uses of its tools, and citations. Pure."""

from collections.abc import Iterator

import msgspec

from organism.formats.json_reading import JsonObject, loads, part, text_of, whole_number
from organism.llm.citations import Citation
from organism.llm.requests import VendorItem

_CODE = frozenset({"code_execution", "bash_code_execution", "text_editor_code_execution"})
_USED = {"web_search": "messages:web_search", "web_fetch": "messages:web_fetch"}


class NativeBlock(msgspec.Struct):
    """A block of this format's own while it is written.

    Attributes:
        value: The block as it began.
        written: The JSON of its input so far.
    """

    value: JsonObject
    written: str = ""

    @property
    def item(self) -> VendorItem:
        """The complete block."""
        value = self.value
        if self.written:
            try:
                given = loads(self.written)
            except ValueError:
                given = None
            value = {**value, "input": given if isinstance(given, dict) else {}}
        return VendorItem(value, "messages")


def note_use(uses: dict[str, int], block: JsonObject) -> None:
    """Count the use of a vendor's tool that a block reports; a container counts once."""
    if block.get("type") != "server_tool_use":
        return
    name = text_of(block.get("name"))
    if name in _CODE:
        uses["messages:code_execution"] = 1
    elif name in _USED:
        uses[_USED[name]] = uses.get(_USED[name], 0) + 1


def counted_uses(uses: dict[str, int], usage: JsonObject) -> dict[str, int]:
    """Return the number of uses of each tool; counts in the usage win."""
    said = usage.get("server_tool_use")
    told = {
        fee: count for name, fee in _USED.items() if (count := whole_number(part(said, f"{name}_requests"))) is not None
    }
    return {fee: count for fee, count in {**uses, **told}.items() if count > 0}


def citations_in(value: object) -> Iterator[Citation]:
    """Yield the citations of a block of text."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield citation_of(each)


def citation_of(value: JsonObject) -> Citation:
    """Translate one citation."""
    title = text_of(value.get("title")) or text_of(value.get("document_title"))
    url = text_of(value.get("url")) or text_of(value.get("source"))
    quoted = text_of(value.get("cited_text"))
    return Citation(url=url, title=title, quoted=quoted, native=value, format="messages")
