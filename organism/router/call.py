"""What the router takes and shows: a call, how calls are made, and a look at what is under way."""

from typing import Literal

import msgspec

from organism.budget.holds import Spender
from organism.router.provider import CompletionRequest

Estimate = Literal["tight", "strict"]
"""``tight``: close, may be overrun a little. ``strict``: counts bytes, a true bound for text."""


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are made.

    Attributes:
        estimate: How the input is counted before the call.
        output_min: The shortest answer worth a call, in tokens.
        attempts: How often a rejected call is tried in all.
        timeout_s: Seconds an attempt may take.
        drain_s: Seconds an abandoned attempt may go on, to learn its real usage.
        calls_in_flight: Calls of one thread at a time.
        refuse_unpriced: Whether a USD limit in mode ``enforce`` refuses models without a price.
    """

    estimate: Estimate = "tight"
    output_min: int = 16
    attempts: int = 3
    timeout_s: float = 120.0
    drain_s: float = 10.0
    calls_in_flight: int = 8
    refuse_unpriced: bool = True


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One model call of an agent.

    Attributes:
        spender: The thread that pays, the agent that asks, the model as the configuration names it.
        root_thread_id: The thread at the top of the tree.
        request: What to send; its ``model`` and output cap are filled in by the router.
        labels: The thread's labels.
    """

    spender: Spender
    root_thread_id: str
    request: CompletionRequest
    labels: dict[str, str] = {}


class RouterStatistics(msgspec.Struct, frozen=True):
    """A look at the router: attempts under way, and threads that have any."""

    attempts_open: int
    threads: int
