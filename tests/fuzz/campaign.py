"""Runs what must hold on made-up input: a few examples in each run of the tests, more for who has time."""

import math
import random
import time
from collections.abc import Awaitable, Callable

import msgspec

SLOW_S = 30.0
"""Seconds of this process's work that no input takes on any machine; one that does has found something quadratic."""

Check = Callable[[random.Random], Awaitable[list[str]]]


class Found(msgspec.Struct, frozen=True):
    """What went wrong with one input.

    Attributes:
        seed: Gives the same input again.
        faults: In words.
    """

    seed: str
    faults: list[str]


class Outcome(msgspec.Struct):
    """What came of a campaign.

    Attributes:
        examples: How many inputs there were.
        slowest_s: How long the slowest took.
        found: What went wrong.
    """

    examples: int = 0
    slowest_s: float = 0.0
    found: list[Found] = []

    @property
    def told(self) -> str:
        """What went wrong, for people."""
        return "\n\n".join(f"{each.seed}: {fault[:3000]}" for each in self.found[:3] for fault in each.faults[:2])


async def campaign(name: str, check: Check, first: int, most: int, until_s: float = math.inf) -> Outcome:
    """Check one made-up input after the other; an exception that the check does not expect is a fault.

    Args:
        name: Of what is checked; part of the seeds.
        check: Says what is wrong with one input.
        first: Where chance begins.
        most: How many inputs.
        until_s: When to stop, in seconds of the work of this process.
    """
    outcome = Outcome()
    for number in range(most):
        seed = f"{name} {first} {number}"
        begun_s = time.process_time()
        if begun_s > until_s:
            break
        try:
            faults = await check(random.Random(seed))
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody expected it
            faults = [_where(error)]
        took_s = time.process_time() - begun_s
        outcome.slowest_s = max(outcome.slowest_s, took_s)
        if took_s > SLOW_S:
            faults = [*faults, f"took {took_s:.1f} s"]
        outcome.examples += 1
        if faults:
            outcome.found.append(Found(seed, faults))
    return outcome


def _where(error: Exception) -> str:
    import traceback

    return "crash: " + "".join(traceback.format_exception(error))[-2500:]
