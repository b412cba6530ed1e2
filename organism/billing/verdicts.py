"""What an answer of another system means for the events that were offered to it. Pure.

Sources: Stripe's API reference (meter events: ``identifier`` is unique for at least 24 hours; errors and rate limits),
Lago's (``POST /events/batch``: one event that is wrong refuses the batch, with ``error_details`` by place), OpenMeter's
(``POST /api/v1/events``: 204, or a problem of RFC 9457), Standard Webhooks (any 2xx is taken), RFC 9110 for the rest.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

_OK = range(200, 300)
_ABOUT_THE_EVENTS = frozenset({400, 409, 413, 422})
"""What is wrong is in the body; sent again it is just as wrong."""

_NOT_ABOUT_THE_EVENTS = frozenset({401, 402, 403, 405, 407, 408, 421, 423, 425, 426, 429})
"""Credentials, the account, the address or the moment: nothing that other events would fare better with."""

_ALREADY = re.compile(
    r"already[ _]exist|already[ _](?:been[ _])?(?:processed|received|ingested|recorded)"
    r"|duplicate[ _-]?(?:event|meter|key|identifier|transaction|entry|record)",
    re.IGNORECASE,
)
_LONGEST_WAIT_S = 3600.0
_SAID_CHARACTERS = 300
_ERRORS = ("errors", "error_details", "failed", "failures", "rejected", "invalid", "error")
"""Where a system says which events it has not taken although it answers 2xx."""


class Taken(msgspec.Struct, frozen=True):
    """It has them, from this request or from an earlier one."""


class Refused(msgspec.Struct, frozen=True):
    """It will not take them; of several, one may be the reason.

    Attributes:
        reason: What it said.
        sure: Whether that is about the events; else it may be about the address, which only events behind can tell.
    """

    reason: str
    sure: bool = True


class Later(msgspec.Struct, frozen=True):
    """It does not take anything now.

    Attributes:
        reason: What it said.
        after_s: Seconds after which it wants to be asked again, if it said so.
    """

    reason: str
    after_s: float | None = None


DeliveryVerdict = Taken | Refused | Later


class SinkAnswer(msgspec.Struct, frozen=True):
    """What came back.

    Attributes:
        status: The HTTP status.
        headers: By names in lower case.
        body: Its beginning.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


def verdict(answer: SinkAnswer, events: int, now: datetime, *, reads_body: bool) -> DeliveryVerdict:
    """Judge an answer to so many events.

    Args:
        answer: The answer.
        events: How many events were in the request. Of several, some may be there already and others not, so that only
            one alone counts as delivered when the other side says that it has it.
        now: Against which a date in ``Retry-After`` is read.
        reads_body: Whether a 2xx can tell of events that were not taken.
    """
    status = answer.status
    text = answer.body.decode("utf-8", "replace")
    reason = f"answered {status}" + (f": {said}" if (said := _said(text)) else "")
    if status in _OK and not (reads_body and _tells_of_errors(text)):
        return Taken()
    if _wants_retry(answer):
        return Later(reason, _retry_after(answer, now))
    if events == 1 and (status == 409 or _ALREADY.search(text)):  # noqa: PLR2004 - Conflict
        return Taken()
    return Refused(reason, sure=status in _OK or status in _ABOUT_THE_EVENTS)


def _wants_retry(answer: SinkAnswer) -> bool:
    if answer.headers.get("stripe-should-retry") == "true":
        return True
    status = answer.status
    return status not in _OK and (not 400 <= status < 500 or status in _NOT_ABOUT_THE_EVENTS)  # noqa: PLR2004


def _retry_after(answer: SinkAnswer, now: datetime) -> float | None:
    """Read seconds or a date; nobody is waited for longer than an hour."""
    text = answer.headers.get("retry-after", "").strip()
    try:
        wait_s = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(wait_s, _LONGEST_WAIT_S) if wait_s > 0 else None


def _tells_of_errors(text: str) -> bool:
    body = _json(text)
    return isinstance(body, dict) and any(body.get(key) for key in _ERRORS)


def _said(text: str) -> str:
    """Return what an answer says, in one line; of JSON the part that is about the error."""
    body = _json(text)
    if body in (None, "", [], {}) and not text.lstrip().startswith("<"):
        text = "" if text.strip() in ("", "null", '""', "[]", "{}") else text
    if isinstance(body, dict) and body:
        found = next((body[key] for key in (*_ERRORS, "detail", "message", "title") if body.get(key)), body)
        if isinstance(found, dict) and isinstance(found.get("message"), str):
            found = found["message"]
        if body.get("error_details"):
            found = body["error_details"]
        text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    elif text.lstrip().startswith("<"):
        text = re.sub(r"<[^>]*>", " ", text)
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    return " ".join(words)[:_SAID_CHARACTERS]


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
