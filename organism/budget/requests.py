"""Limits that somebody asks for, and what they get. One rule for everybody who opens a thread. Pure.

What a request does not name stays as it is configured. What it names can only lower that, unless whoever asks may
operate: then it is what was asked for, and a limit may be removed by saying so. So no request, key, child or program
from outside lifts a limit that an operator has set, whatever it leaves out.
"""

from typing import Literal

import msgspec

from organism.amounts import AMOUNT_MAX, Limits
from organism.errors import ConfigError

Removed = Literal["unlimited"]
"""Says in a request that a unit is not to be limited."""


class LimitsRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Limits that somebody asks for; ``None`` leaves a unit as it is configured.

    Attributes:
        tokens: All tokens, input and output.
        cost_nanousd: Money in nano-USD.
        elapsed_ns: Nanoseconds the thread is open and not parked.
        calls: Attempts sent to a provider.
    """

    tokens: int | Removed | None = None
    cost_nanousd: int | Removed | None = None
    elapsed_ns: int | Removed | None = None
    calls: int | Removed | None = None


def grant_limits(asked: LimitsRequest | Limits | None, configured: Limits, *, may_raise: bool) -> Limits:
    """Return the limits that a thread gets.

    Args:
        asked: What was asked for; nothing asks for nothing else than what is configured.
        configured: What it has if nothing is asked for, and the most that others than operators get.
        may_raise: Whether whoever asks may operate, so that it gets more than is configured where it says so.

    Raises:
        ConfigError: If a limit that is asked for is no whole number from 0 to what 64 bits hold.
    """
    if asked is None:
        return configured
    return Limits(
        **{
            name: _granted(name, getattr(asked, name), getattr(configured, name), may_raise=may_raise)
            for name in Limits.__struct_fields__
        }
    )


def _granted(name: str, asked: object, configured: int | None, *, may_raise: bool) -> int | None:
    if asked is None:
        return configured
    if asked == "unlimited":
        return None if may_raise else configured
    if not isinstance(asked, int) or isinstance(asked, bool) or not 0 <= asked <= AMOUNT_MAX:
        raise ConfigError(f"a limit is a whole number from 0 to {AMOUNT_MAX:,}, not {asked!r:.80}", path=name)
    return asked if may_raise or configured is None else min(asked, configured)
