"""How events become the bytes of a body: the lines of an event stream, or something else."""

import gzip
import json
import zlib

import msgspec

from tests.formats.dialects.truth import Draft, Json

KEEP_ALIVE = (": OPENROUTER PROCESSING", ":", ": ping", "retry: 3000", "id: 7", 'event: ping\ndata: {"type": "ping"}')


class Body(msgspec.Struct, frozen=True):
    """What arrives.

    Attributes:
        chunks: The body, as it comes.
        headers: The headers.
        shape: How it was written, for whoever wonders why it was not read.
        text: The same, before it was compressed.
    """

    chunks: list[bytes]
    headers: dict[str, str]
    shape: str
    text: str

    def cut(self, at: float) -> "Body":
        """Return what is there of it when a share of it has come."""
        raw = b"".join(self.chunks)
        return Body([raw[: int(len(raw) * at)]], self.headers, f"{self.shape}, cut at {at:.3f}", self.text)


def sent(draft: Draft) -> Body:
    """Write a draft's events."""
    chance = draft.chance
    is_ascii = chance.random() < 0.5
    shape = "json"
    if draft.streamed:
        shape = chance.choices(("events", "lines of JSON", "an array"), (18, 1, 1))[0]
        if draft.names == "alone" or {"end": "[DONE]"} in draft.events:
            shape = "events"
        if shape != "events" and not draft.ends - {"done"}:
            shape = "events"
    match shape:
        case "events":
            text, how = _events(draft, is_ascii=is_ascii)
            shape = f"events {how}"
        case "lines of JSON":
            text = "\n".join(json.dumps(event, ensure_ascii=is_ascii) for event in draft.events)
        case "an array":
            text = json.dumps(draft.events, ensure_ascii=is_ascii, indent=chance.choice((None, 1)))
        case _:
            text = json.dumps(draft.events[0], ensure_ascii=is_ascii, indent=chance.choice((None, 2)))
            text = chance.choice(("", "", "\n", "  \n \n")) + text
    raw = chance.choice((b"", b"", b"", b"\xef\xbb\xbf")) + text.encode()
    headers = {"content-type": chance.choice(("application/json", "text/event-stream", "text/plain", ""))}
    match chance.choice(("", "", "", "gzip", "x-gzip", "deflate", "identity")):
        case ("gzip" | "x-gzip") as how:
            raw = gzip.compress(raw)
            headers["content-encoding"] = how
        case "deflate" as how:
            raw = zlib.compress(raw)
            headers["content-encoding"] = how
        case _:
            pass
    size = chance.choice((1, 3, 17, 400, 10**6))
    return Body(
        [raw[at : at + size] for at in range(0, len(raw), size)], headers, f"{shape}, {headers}, by {size}", text
    )


def _events(draft: Draft, *, is_ascii: bool) -> tuple[str, str]:
    """Write an event stream by the WHATWG standard, in one of the ways that it allows, or one beyond."""
    chance = draft.chance
    end = chance.choice(("\n", "\n", "\r\n", "\r"))
    colon = chance.choice((": ", ": ", ":"))
    is_pretty = chance.random() < 0.08
    has_blank = is_pretty or draft.names != "none" or chance.random() < 0.92
    lines: list[str] = []
    for event in draft.events:
        if chance.random() < 0.1:
            lines += [*chance.choice(KEEP_ALIVE).split("\n"), *([""] if has_blank else [])]
        if event == {"end": "[DONE]"}:
            lines += [f"data{colon}[DONE]", ""]
            continue
        lines += _named(draft, event, colon)
        data = json.dumps(_without_type(draft, event), ensure_ascii=is_ascii, indent=1 if is_pretty else None)
        lines += [f"data{colon}{line}" for line in data.split("\n")]
        lines += [""] if has_blank else []
    if draft.done:
        lines += [f"data{colon}[DONE]", ""]
    text = end.join(lines) + chance.choice((end, end, end + end, ""))
    return text, f"with {end!r}, blank lines: {has_blank}, pretty: {is_pretty}"


def _named(draft: Draft, event: Json, colon: str) -> list[str]:
    return [] if draft.names == "none" or "type" not in event else [f"event{colon}{event['type']}"]


def _without_type(draft: Draft, event: Json) -> Json:
    return {name: value for name, value in event.items() if name != "type"} if draft.names == "alone" else event
