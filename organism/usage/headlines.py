"""Events without what strangers' errors say: for log lines, other systems, and callers who may only read. Pure.

An error's text may quote the message or the prompt that it is about. Its headline (which error, from whom, with which
status) is in our own words; see :func:`organism.text.redaction.headline`.
"""

from msgspec.structs import replace

from organism.text.redaction import headline
from organism.usage.events import (
    AgentStopped,
    AnyEvent,
    DeadLetterEvent,
    LLMFailover,
    LLMRetry,
    ThreadClosed,
    UsageEvent,
)

_QUOTING: dict[type[AnyEvent], str] = {
    UsageEvent: "error",
    LLMRetry: "reason",
    LLMFailover: "reason",
    AgentStopped: "reason",
    DeadLetterEvent: "detail",
    ThreadClosed: "reason",
}
"""The field of an event that may hold an error's text."""


def with_headline(event: AnyEvent) -> AnyEvent:
    """Return an event with the headline of its error in the place of the text; itself if there is no more to it."""
    field = _QUOTING.get(type(event))
    said: str | None = getattr(event, field) if field is not None else None
    if field is None or said is None or (short := headline(said)) == said:
        return event
    return replace(event, **{field: short})
