"""Checks the pieces of answers that adapters hand over. Pure."""

from msgspec.structs import replace

from organism.amounts import TokenUsage
from organism.concurrency.foreign_code import encodable
from organism.llm.deltas import (
    CitationDelta,
    Ping,
    ProviderPiece,
    ReasoningDelta,
    RefusalDelta,
    ServerToolUse,
    StreamEnd,
    TextBreak,
    ToolCallDelta,
    Unshown,
    UsageDelta,
)
from organism.llm.requests import VendorItem
from organism.router.planning.request_checks import sound
from organism.text.error_text import shown


def checked_piece(piece: ProviderPiece) -> ProviderPiece:
    """Return a piece whose texts can be encoded.

    Raises:
        TypeError: If it is not a piece of an answer: adapters are foreign code.
    """
    match piece:
        case RefusalDelta():
            return RefusalDelta(encodable(str(piece)))
        case str():
            return encodable(piece)
        case ReasoningDelta(text=str(text), signature=str(seal), id=str(name), place=int()):
            return replace(piece, text=encodable(text), signature=encodable(seal), id=encodable(name))
        case ToolCallDelta(id=str(call_id), name=str(name), arguments=str(written), place=int()):
            return replace(piece, id=encodable(call_id), name=encodable(name), arguments=encodable(written))
        case UsageDelta(usage=TokenUsage()) | TextBreak() | ServerToolUse() | StreamEnd() | Ping():
            return piece
        case VendorItem() | CitationDelta() | Unshown():
            return sound(piece, type(piece))[0]
        case _:
            raise TypeError(f"on_text takes a piece of the answer, not {shown(piece)}")
