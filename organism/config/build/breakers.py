"""From the section about breakers to what counts: one rule for the whole organism and for single agents."""

from typing import Literal

from organism.budget.guards.breakers import Breakers, RateBreaker
from organism.config.schema.breakers import BreakersSection


def breakers_of(written: BreakersSection | Literal["off"] | None) -> Breakers | None:
    """Return what trips; ``None`` where nothing is written."""
    if written is None:
        return None
    if written == "off":
        return Breakers(repeat=0, alternate=0, actions=())
    assert isinstance(written, BreakersSection)  # noqa: S101 - the only other shape there is
    rate = written.rate
    return Breakers(
        repeat=written.repeat,
        alternate=written.alternate,
        rate=RateBreaker(times=rate)
        if isinstance(rate, int)
        else RateBreaker(times=rate.times, minutes=rate.minutes)
        if rate is not None
        else None,
        actions=tuple(written.actions),
    )
