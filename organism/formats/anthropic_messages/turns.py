"""Writes the turns of a conversation as Anthropic's messages take them. Pure.

The API refuses empty texts, thinking without its own signature, results that do not follow their call, and a
conversation that is empty, begins with the model, or ends in white space of the model's. Conversations with other
vendors have all of these. Source: the reference of ``POST /v1/messages`` and its errors.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Literal

from organism.formats.conversation import IdRule, mended
from organism.formats.json_reading import JsonObject
from organism.formats.media.attachments import file_text
from organism.formats.tool_calls import arguments_object
from organism.llm.requests import (
    ChatMessage,
    FilePart,
    ImagePart,
    Part,
    Reasoning,
    TextPart,
    ToolCall,
    ToolResult,
    VendorItem,
)

_IDS = IdRule()
_BEGIN = "(The conversation begins.)"
_NOTHING = "(empty)"


def conversation_of(messages: Iterable[ChatMessage]) -> tuple[list[JsonObject], list[JsonObject]]:
    """Write instructions as blocks and the other turns as turns; instructions alone become the one user turn."""
    sound = mended(messages, _IDS)
    system = [block for turn in sound if turn.role == "system" for block in _blocks(turn)]
    turns: list[JsonObject] = []
    for turn in sound:
        if turn.role != "system":
            _add(turns, turn)
    if not turns:
        return [], [{"role": "user", "content": system or [{"type": "text", "text": _BEGIN}]}]
    if turns[0]["role"] != "user":
        turns.insert(0, {"role": "user", "content": _BEGIN})
    _trim_end(turns[-1])
    return system, turns


def cache_mark(ttl: Literal["5m", "1h"]) -> JsonObject:
    """Write a cache mark; the vendor's default time is five minutes."""
    return {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl != "5m" else {})}


def acts_without_thought(turns: list[JsonObject]) -> bool:
    """Whether the conversation ends in results of a tool call that was made without thinking.

    With a thinking budget, the API refuses a call that does not begin with thinking, such as one that another vendor's
    model has made.
    """
    if len(turns) < 2 or _first_kind(turns[-1]) != "tool_result":  # noqa: PLR2004
        return False
    return _first_kind(turns[-2]) not in {"thinking", "redacted_thinking"}


def _first_kind(turn: JsonObject) -> object:
    content = turn["content"]
    return content[0].get("type") if isinstance(content, list) and content else None


def _add(turns: list[JsonObject], turn: ChatMessage) -> None:
    """Append a turn; merge it into the last one if both have the same role, as not every server does so."""
    if isinstance(turn.content, str) and not turn.cache and not (turns and turns[-1]["role"] == turn.role):
        if turn.content.strip():
            turns.append({"role": turn.role, "content": turn.content})
        return
    blocks = list(_blocks(turn))
    if not blocks:
        return
    if not turns or turns[-1]["role"] != turn.role:
        turns.append({"role": turn.role, "content": blocks})
        return
    before = turns[-1]["content"]
    turns[-1]["content"] = (
        [{"type": "text", "text": before}] if isinstance(before, str) else list(_items(before))
    ) + blocks


def _items(content: object) -> Iterable[JsonObject]:
    return content if isinstance(content, list) else ()


def _trim_end(turn: JsonObject) -> None:
    """Strip white space from the end of an answer that the model is to continue."""
    if turn["role"] != "assistant":
        return
    content = turn["content"]
    if isinstance(content, str):
        turn["content"] = content.rstrip()
    elif isinstance(content, list) and content[-1].get("type") == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}


def _blocks(turn: ChatMessage) -> Iterator[JsonObject]:
    """Write a turn's parts; its cache mark goes to the last block that takes one."""
    blocks = [block for piece in turn.parts if (block := _block(piece)) is not None]
    if turn.cache and blocks:
        place = max((at for at, block in enumerate(blocks) if block["type"] not in _UNMARKED), default=None)
        if place is not None:
            blocks[place] = blocks[place] | cache_mark(turn.cache_ttl)
    yield from blocks


_UNMARKED = frozenset({"thinking", "redacted_thinking"})
"""Types of blocks that take no cache mark."""


def _block(piece: Part) -> JsonObject | None:
    """Write a part; ``None`` for empty text, and for reasoning that Anthropic has not signed."""
    match piece:
        case TextPart():
            return _text(piece) if piece.text.strip() else None
        case ImagePart() | FilePart():
            return _attachment(piece)
        case ToolCall():
            given = arguments_object(piece.arguments or "{}")
            return {"type": "tool_use", "id": piece.id, "name": piece.name, "input": given}
        case ToolResult():
            return _result(piece)
        case Reasoning():
            return _thought(piece)
        case VendorItem(value=value):  # items of other formats were refused before anything was held
            return value


def _text(piece: TextPart) -> JsonObject:
    """Write text, with citations that came in this format."""
    cited = [each.native for each in piece.citations if each.format == "messages"]
    return {"type": "text", "text": piece.text} | ({"citations": cited} if cited else {})


def _thought(piece: Reasoning) -> JsonObject | None:
    """Write reasoning that Anthropic has signed; reasoning with an id is another vendor's."""
    if not piece.signature or piece.id:
        return None
    if piece.redacted:
        return {"type": "redacted_thinking", "data": piece.signature}
    return {"type": "thinking", "thinking": piece.text, "signature": piece.signature}


def _result(piece: ToolResult) -> JsonObject:
    inner: object = piece.content
    if not isinstance(piece.content, str):
        inner = [block for each in piece.content if (block := _block(each)) is not None]
    elif not piece.content.strip():
        inner = None
    result: JsonObject = {"type": "tool_result", "tool_use_id": piece.call_id, "content": inner or _NOTHING}
    return result | ({"is_error": True} if piece.is_error else {})


def _attachment(piece: ImagePart | FilePart) -> JsonObject:
    if isinstance(piece, FilePart) and (words := file_text(piece)) is not None:
        return _cited(piece, words) if piece.cited else {"type": "text", "text": words or _NOTHING}
    source: JsonObject = {"type": "base64", "media_type": piece.media_type, "data": b64encode(piece.data).decode()}
    if piece.url:
        source = {"type": "url", "url": piece.url}
    if isinstance(piece, ImagePart):
        return {"type": "image", "source": source}
    document: JsonObject = {"type": "document", "title": piece.name, "source": source}
    return document | ({"citations": {"enabled": True}} if piece.cited else {})


def _cited(piece: FilePart, words: str) -> JsonObject:
    """Write a plain text as a document, so that the answer can cite it by character."""
    data = piece.data.decode("utf-8", "replace") or words
    source = {"type": "text", "media_type": "text/plain", "data": data}
    return {"type": "document", "title": piece.name, "source": source, "citations": {"enabled": True}}
