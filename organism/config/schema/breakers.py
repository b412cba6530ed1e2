"""The part of organism.yaml about agents that go round and round."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from organism.config.schema.values import Count, Positive, Section


class RateBreakerSection(Section, frozen=True, kw_only=True):
    """When spend is too fast."""

    times: Annotated[Positive, Meta(description="times the median of the thread's own minutes of spend")] = 10
    minutes: Annotated[Positive, Meta(description="minutes of spend that must be known before")] = 3


class BreakersSection(Section, frozen=True, kw_only=True):
    """What trips when an agent goes round and round, and what follows. Without it there are only events."""

    repeat: Annotated[
        Count, Meta(description="the same call, or the same result of the same tool, in a row; 0 for never")
    ] = 3
    alternate: Annotated[
        Count, Meta(description="rounds of A-B-A-B, of calls, tools or messages between two agents; 0 for never")
    ] = 3
    rate: Annotated[
        Positive | RateBreakerSection | None,
        Meta(description="spend per minute above so many times the thread's own median; never unless given"),
    ] = None
    actions: Annotated[
        list[Literal["note", "pause", "stop"]],
        Meta(description="what follows the first time, the second and so on; the last one from there on"),
    ] = msgspec.field(default_factory=lambda: ["note", "pause", "stop"])
