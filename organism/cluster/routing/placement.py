"""Which partitions answer a request? Pure: everything is in the request, so routing asks nobody."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast
from urllib.parse import parse_qs, urlencode

import msgspec

from organism.amounts.account import account_of, thread_of
from organism.ids import Layout

DestinationKind = Literal["here", "own", "at", "any", "all", "refused"]


class Destination(msgspec.Struct, frozen=True):
    """Where a request is answered.

    Attributes:
        kind: ``here``: by this node itself; ``own``: by all partitions that it has; ``at``: by one partition; ``any``:
            by one, whichever; ``all``: by all of the cluster, and their answers become one; ``refused``: nowhere.
        partition: The one.
        query: What takes the place of the request's query.
        reason: Why it is refused, and what to do.
        label: The label that ``any`` partition is of; empty for those of any node.
    """

    kind: DestinationKind
    partition: int = 0
    query: str | None = None
    reason: str = ""
    label: str = ""


class PlacedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request is placed by.

    Attributes:
        method: Its method.
        path: Decoded.
        query: Without the question mark.
        key: Its idempotency key; empty if it has none.
        caller: Who makes it; empty for nobody known.
        payer: The thread that would pay for it, if it is one of the gateway's.
        body: As it came.
        label_of: Tells which label an agent's threads need, or those of the entry.
    """

    method: str
    path: str
    query: str = ""
    key: str = ""
    caller: str = ""
    payer: str = ""
    body: bytes = b""
    label_of: Callable[[str | None], str] = lambda _agent: ""


HERE, OWN, ANY, ALL = Destination("here"), Destination("own"), Destination("any"), Destination("all")

_BY_ID = ("threads", "dead-letters", "responses", "conversations")
"""Below these paths everything is about what the next part of the path names."""

_OF_ALL = frozenset(
    {"agents", "mode", "freeze", "status", "usage", "exporters", "threads", "dead-letters", "approvals", "budgets"}
)
_OWN = frozenset({"drain", "stop"})
_CALLS = ("chat/completions", "completions", "responses", "embeddings", "messages")
_ANSWER_PARTS = 3
"""``/answer/QUESTION/allow``."""

_COUNTS = ("messages/count_tokens", "responses/input_tokens")


def place_of(request: PlacedRequest, layout: Layout) -> Destination:
    """Return where a request is answered.

    Args:
        request: It.
        layout: The partitions that the cluster has.
    """
    parts = request.path.strip("/").split("/")
    if request.path == "/metrics" or (parts[0] == "answer" and len(parts) == _ANSWER_PARTS):
        return ALL  # the ids of questions are made of what is asked, so they do not say where
    below = "/".join(parts[1:]) if parts[0] == "v1" else request.path.strip("/")
    if (below in _CALLS and request.method == "POST") or below in _COUNTS:
        return _of_call(request, layout)
    if parts[0] == "v1beta":  # Google's paths
        return _at(request.payer, layout) if request.method == "POST" else ANY
    if parts[0] != "v1" or len(parts) < 2:  # noqa: PLR2004
        return HERE
    return _of_api(request, parts[1:], layout)


def _of_api(request: PlacedRequest, parts: list[str], layout: Layout) -> Destination:
    room = parts[0]
    if len(parts) > 1 and room in _BY_ID:
        return _at(parts[1], layout)
    if (place := _SPECIAL.get(room)) is not None:
        return place(request, parts, layout)
    return OWN if room in _OWN else ALL if room in _OF_ALL else HERE


def _at(name: str, layout: Layout) -> Destination:
    return Destination("at", layout.partition_of(name))


def _of_threads(request: PlacedRequest, _parts: list[str], layout: Layout) -> Destination:
    """Place a new thread: by its name, or where its agent may work, by its key, where its receipt is, or anywhere."""
    if request.method != "POST":
        return ALL
    name = _field(request.body, "thread_id")
    if isinstance(name, str):
        return _at(name, layout)
    to = _field(request.body, "to")
    label = request.label_of(to if isinstance(to, str) else None)
    if request.key:
        return Destination("at", layout.spread(f"{request.caller}\0{request.key}", label))
    return Destination("any", label=label)


def _of_tokens(request: PlacedRequest, _parts: list[str], _layout: Layout) -> Destination:
    """Place tokens, which every node knows: what is changed is noted in a partition, of this node where it has one."""
    return HERE if request.method == "GET" else ANY


def _of_budgets(request: PlacedRequest, parts: list[str], layout: Layout) -> Destination:
    if len(parts) == 1:
        return ALL
    account = account_of(parts[1])
    if (thread := thread_of(account)) is not None:
        return _at(thread, layout)
    # A limit that all share is changed in one place, always the same, where the receipt of the order is.
    return ALL if request.method == "GET" else _at(account, layout)


def _of_events(request: PlacedRequest, _parts: list[str], layout: Layout) -> Destination:
    thread = parse_qs(request.query).get("thread")
    return HERE if thread is None else _at(thread[-1], layout)


def _of_usage(request: PlacedRequest, parts: list[str], layout: Layout) -> Destination:
    """Place usage: sums that each partition keeps are of all; those of a period any node makes from all events."""
    query = parse_qs(request.query)
    if parts[1:] == ["report"]:
        return _of_events(request, parts, layout)
    return HERE if len(parts) == 1 and query.keys() & {"since", "until"} else ALL


def _of_ledger(request: PlacedRequest, _parts: list[str], layout: Layout) -> Destination:
    query = parse_qs(request.query, keep_blank_values=True)
    number = query.pop("partition", [""])[-1]
    if not (number.isascii() and number.isdecimal() and int(number[:4]) in layout.every):
        reason = f"each partition has a ledger of its own: say which with partition=0 to {layout.every[-1]}"
        return Destination("refused", reason=reason)
    return Destination("at", int(number), urlencode(query, doseq=True))


_SPECIAL: Mapping[str, Callable[[PlacedRequest, list[str], Layout], Destination]] = {
    "threads": _of_threads,
    "budgets": _of_budgets,
    "events": _of_events,
    "ledger": _of_ledger,
    "tokens": _of_tokens,
    "usage": _of_usage,
    "conversations": lambda request, _parts, layout: _at(request.payer, layout),
    "models": lambda _request, _parts, _layout: ANY,
}


def _of_call(request: PlacedRequest, layout: Layout) -> Destination:
    """Place a call of a model: where the thread is that pays; what it goes on from must be there too."""
    paying = _at(request.payer, layout)
    said = _field(request.body, "previous_response_id"), _field(request.body, "conversation")
    for named in said:
        name = named.get("id") if isinstance(named, dict) else named
        if isinstance(name, str) and _at(name, layout) != paying:
            reason = (
                f"{name[:80]!r} is kept in another partition of the cluster than the thread {request.payer!r}, which "
                "pays: go on from it in the thread it was made in, or send the whole conversation"
            )
            return Destination("refused", reason=reason)
    return paying


def _field(body: bytes, name: str) -> Any:
    """Return a field of a body; ``None`` where there is none, or it is wrong in a way that its partition will name."""
    # As a rule it is not there, and reading a megabyte to see that would take long; a name may be written with escapes.
    if name.encode() not in body and b"\\" not in body:
        return None
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
