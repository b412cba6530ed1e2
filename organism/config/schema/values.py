"""What all sections of organism.yaml are made of: bounded numbers, secrets, and a struct that takes no unknown key."""

from decimal import Decimal
from hmac import compare_digest
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Percent = Annotated[int, Meta(ge=1, le=100)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[Decimal, Meta(description="seconds, such as 2.5")]
PeriodName = Annotated[str, Meta(pattern="^(thread|call|hour|day|week|month|lifetime|[1-9][0-9]{0,4}[mhd])$")]
"""What limits are counted over; ``6h`` is a rolling window of six hours."""

ModeName = Literal["off", "audit", "enforce"]
StrategyName = Literal["failover", "round_robin", "least_loaded", "cheapest"]
LogLevel = Literal["debug", "info", "warning", "error"]


class Secret:
    """A secret from the environment. It shows itself only when asked to."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all sections have in common: no unknown keys, nothing changes after loading."""
