"""Reads lists of tools and results of tools leniently. Pure.

Source: the Model Context Protocol, revisions 2024-11-05 to 2025-11-25 (``tools/list``, ``tools/call``). Servers are
written by hand as often as with an SDK; what they leave out, misplace or get wrong is understood where possible, and
content that cannot be shown to a model is replaced by a note. A result is never lost for its form.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from organism.formats.media.image_size import size_of_image
from organism.llm.requests import ImagePart, TextPart

ResultPart = TextPart | ImagePart

BLOCKS_MAX = 1_000
IMAGES_MAX = 20
"""The most parts, and images, of one result that are read; the tool's rules bound what is shown."""

NO_SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

_SHOWN_CHARACTERS = 500
_IMAGES = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
"""Images that vendors take, by their first bytes.

A media type that is wrong, or a picture that is cut short, would have the whole request refused.
"""

_TEXT_TYPES = re.compile(r"text/.*|application/(?:.*\+)?(?:json|xml|yaml|javascript)|image/svg\+xml")


def plain_tools(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of tools in the protocol's form; tools without a name are left out.

    Output schemas are removed: a result is used even if it violates its schema, see :func:`read_result`.
    """
    listed = result.get("tools")
    tools = []
    for tool in listed if isinstance(listed, list) else []:
        if isinstance(tool, dict) and isinstance(name := tool.get("name"), str):
            described = tool.get("description") or tool.get("title") or ""
            tools.append({"name": name, "description": str(described), "inputSchema": _schema(tool)})
    cursor = result.get("nextCursor")
    return {"tools": tools} | ({"nextCursor": cursor} if isinstance(cursor, str) and cursor else {})


def output_schemas(result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the output schemas of a page of tools, by tool."""
    listed = result.get("tools")
    return {
        tool["name"]: tool["outputSchema"]
        for tool in (listed if isinstance(listed, list) else [])
        if isinstance(tool, dict) and isinstance(tool.get("name"), str) and isinstance(tool.get("outputSchema"), dict)
    }


def _schema(tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = next((tool[key] for key in ("inputSchema", "input_schema", "parameters") if tool.get(key)), None)
    if not isinstance(schema, dict):
        return NO_SCHEMA
    properties = schema.get("properties")
    return schema | {"type": "object", "properties": properties if isinstance(properties, dict) else {}}


class Result(msgspec.Struct, frozen=True):
    """A result of a tool.

    Attributes:
        parts: Its content; adjacent texts are joined.
        is_error: Whether the tool says that it failed.
        structured: Its structured content; ``None`` if there is none.
    """

    parts: tuple[ResultPart, ...]
    is_error: bool
    structured: Any = None


def read_result(result: Mapping[str, Any]) -> Result:
    """Read a result of any form."""
    is_error = result.get("isError") in (True, 1, "true", "True") or result.get("is_error") is True
    content = result.get("content")
    structured = result.get("structuredContent", result.get("toolResult"))
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    parts = list(_parts(blocks))
    if structured is None and content is None:
        rest = {key: value for key, value in result.items() if key not in ("_meta", "isError", "content", "resultType")}
        structured = rest or None
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if structured not in (None, {}, []) and not _says(texts, structured):
        parts.append(TextPart(_json(structured)))
    if not any(isinstance(part, ImagePart) or part.text for part in parts):
        silent = "the tool failed and did not say why" if is_error else "[the tool has returned nothing]"
        parts = [TextPart(_json(structured) if structured is not None else silent)]
    return Result(tuple(_joined(parts)), is_error, structured)


def _parts(blocks: list[Any]) -> Iterator[ResultPart]:
    images = 0
    for block in blocks[:BLOCKS_MAX]:
        part = _part(block)
        images += isinstance(part, ImagePart)
        yield (
            TextPart("[an image left out: there are too many]")
            if images > IMAGES_MAX and isinstance(part, ImagePart)
            else part
        )
    if len(blocks) > BLOCKS_MAX:
        yield TextPart(f"[{len(blocks) - BLOCKS_MAX:,} more parts left out]")


def _joined(parts: list[ResultPart]) -> Iterator[ResultPart]:
    """Join adjacent texts."""
    texts: list[str] = []
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
            continue
        if texts:
            yield TextPart("\n".join(texts))
            texts = []
        yield part
    if texts:
        yield TextPart("\n".join(texts))


def _part(block: Any) -> ResultPart:
    """Return a block that can be shown to a model; a note for one that cannot."""
    if not isinstance(block, dict):
        return TextPart(block if isinstance(block, str) else _json(block))
    kind = block.get("type") or next((kind for key, kind in _KINDS if key in block), None)
    match kind:
        case "resource":
            resource = block.get("resource")
            return _resource(resource if isinstance(resource, dict) else block)
        case "image" | "audio":
            media_type = str(block.get("mimeType") or block.get("mime_type") or "")
            return _media(block.get("data"), media_type, kind)
        case "resource_link":
            return TextPart(_link(block))
        case "text" if block.get("text") is None:
            return TextPart("")
    text = block.get("text")
    if kind == "text" and not isinstance(text, str):
        text = _json(text)
    return TextPart(text if isinstance(text, str) else f"[{_json(block)[:_SHOWN_CHARACTERS]}]")


_KINDS = (("text", "text"), ("resource", "resource"), ("data", "image"), ("uri", "resource_link"))
"""The type of a block without one, by a key that only this type has."""


def _link(block: Mapping[str, Any]) -> str:
    words = (block.get("title") or block.get("name"), block.get("description"))
    told = ": ".join(str(word) for word in words if word)
    return f"[link: {block.get('uri', '')}{f' {told}' if told else ''}]"


def _resource(resource: Mapping[str, Any]) -> ResultPart:
    text = resource.get("text")
    if isinstance(text, str):
        return TextPart(text)
    uri, media_type = str(resource.get("uri") or "a resource"), str(resource.get("mimeType") or "")
    if resource.get("blob") is None:
        return TextPart(f"[{uri}]")
    return _media(resource["blob"], media_type, uri)


def _media(data: Any, media_type: str, name: str) -> ResultPart:
    raw = _bytes(data)
    what = f"{name}, {media_type}" if media_type and media_type != name else name
    if raw is None:
        return TextPart(f"[{what} left out: its data cannot be read]")
    known = next((known for start, known in _IMAGES if raw.startswith(start)), None)
    if known is not None and size_of_image(raw) is not None:
        return ImagePart(known, raw)
    if _TEXT_TYPES.fullmatch(media_type):
        try:
            return TextPart(raw.decode())
        except UnicodeDecodeError:
            pass
    return TextPart(f"[{what} of {len(raw):,} bytes left out]")


def _bytes(data: Any) -> bytes | None:
    """Decode base64 of either alphabet, with or without padding, line breaks and the head of a data URL."""
    if not isinstance(data, str):
        return None
    if data.startswith("data:"):
        data = data.partition(",")[2]
    plain = "".join(data.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def _says(texts: list[str], structured: Any) -> bool:
    """Whether the texts repeat the structured content, as servers do for clients that read only one of the two."""
    wrapped = isinstance(structured, dict) and list(structured) == ["result"]
    meant = structured["result"] if wrapped else structured
    said = [_value(text) for text in texts]
    whole = _value("\n".join(texts))
    return any(one in (structured, meant) for one in (*said, *texts, whole, "\n".join(texts), said, texts))


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return text


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode("utf-8", "replace")
