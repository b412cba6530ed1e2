"""What every side goes through, and what is made of it: three scenes, their scripts, and the figures.

``storm``: many calls at once on one nearly empty budget, among them some that are cancelled, fail, break off, or are
answered with odd usage; then calls one after another until one is refused. ``loop``: a conversation that sends all of
itself again with each turn, until a turn is refused. ``work``: jobs that are killed half way with ``kill -9`` and asked
for again. A token costs the same everywhere, so all budgets are told in tokens.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from organism.amounts import TokenUsage
from organism.testing import HTTPStep
from organism.testing.http_provider import ReceivedRequest

Scene = Literal["storm", "loop", "work"]

SEED = 19
USD_PER_TOKEN = 0.001
OUTPUT_CAP = 100
"""Tokens that a call asks for at most."""
SLOW_S = 1.5
PATIENCE_S = 0.4
"""How long a client waits that gives up."""
PROBES = 60
TURNS = 40
PROBE = 100_000
"""The number of the first call after the storm."""


class Call(msgspec.Struct, frozen=True):
    """One call of a scene, as a side is told it.

    Attributes:
        number: Stands in its text, by which the provider knows what to do with it.
        words: How long its text is.
        stream: Whether it is streamed.
        patience_s: After how many seconds the client gives up; never unless given.
    """

    number: int
    words: int = 200
    stream: bool = False
    patience_s: float | None = None

    @property
    def tokens(self) -> int:
        """What a plain answer to it comes to at most, by the provider's count."""
        return self.words + 1 + OUTPUT_CAP


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A scene for one side.

    Attributes:
        scene: Which.
        url: The provider's address.
        home: A folder of the side's own, that is there again when it is started again.
        limit: The budget in tokens.
        calls: The calls; of a loop, its turns.
        probes: How many calls are tried after a storm.
        output_cap: Tokens that a call asks for.
        usd_per_token: What a token costs.
    """

    scene: Scene
    url: str
    home: str
    limit: int
    calls: list[Call]
    probes: int = 0
    output_cap: int = OUTPUT_CAP
    usd_per_token: float = USD_PER_TOKEN


class Told(msgspec.Struct, kw_only=True):
    """What a side says when it has been through a scene.

    Attributes:
        outcomes: By call: ``answered``, ``refused``, ``given up``, ``failed``.
        spent: Tokens by its own books.
        warned: After how many calls a warning had been given; ``None`` if none was.
        remembered: Tokens by its own books before the first call.
        notes: What it cannot do.
    """

    outcomes: list[tuple[int, str]] = []
    spent: float = 0
    warned: int | None = None
    remembered: float = 0
    notes: list[str] = []


def words(count: int, seed: int = 0) -> str:
    """Return so many words, each one token long."""
    few = ("time", "sea", "moon", "tide", "sand", "wind", "rock", "shore")
    return " ".join(few[(seed + number) % len(few)] for number in range(count))


def _answer(number: int) -> str:
    return words(10 + number * 7 % (OUTPUT_CAP - 9), number)


Step = Callable[[int], HTTPStep]

KINDS: Mapping[str, tuple[int, bool, bool, Step]] = {
    "answered": (10, False, False, lambda n: HTTPStep(text=_answer(n))),
    "streamed": (6, True, False, lambda n: HTTPStep(text=_answer(n))),
    "cancelled": (5, False, True, lambda n: HTTPStep(text=_answer(n), delay_s=SLOW_S)),
    "stream left": (3, True, True, lambda n: HTTPStep(text=_answer(n), pause_s=SLOW_S / 8)),
    "500, not billed": (2, False, False, lambda _n: HTTPStep(status=500)),
    "502, billed": (2, False, False, lambda n: HTTPStep(status=502, text=_answer(n))),
    "broken off": (2, True, False, lambda n: HTTPStep(text=_answer(n), fault="reset", fault_after=5)),
    "no usage": (2, False, False, lambda n: HTTPStep(text=_answer(n), usage="")),
    "usage of zero": (1, False, False, lambda n: HTTPStep(text=_answer(n), usage=_usage(0, 0))),
    "negative usage": (1, False, False, lambda n: HTTPStep(text=_answer(n), usage=_usage(-500, 10))),
}
"""By name: how many of thirty or so, whether streamed, whether its client gives up, and what the provider does."""


def _usage(read: int, written: int) -> str:
    return f'{{"prompt_tokens": {read}, "completion_tokens": {written}, "total_tokens": {read + written}}}'


class Script:
    """What the provider does with each call of a storm, shuffled by a seed."""

    def __init__(self, rounds: int, seed: int = SEED) -> None:
        kinds = [kind for kind, (count, *_) in KINDS.items() for _ in range(count * rounds)]
        random.Random(seed).shuffle(kinds)  # noqa: S311 - the same storm for everybody
        self.kinds = dict(enumerate(kinds))

    def calls(self) -> list[Call]:
        """Return the calls, as a side is told them."""
        return [
            Call(number, stream=KINDS[kind][1], patience_s=PATIENCE_S if KINDS[kind][2] else None)
            for number, kind in self.kinds.items()
        ]

    def step(self, request: ReceivedRequest) -> HTTPStep:
        """Return what the provider does with a request."""
        number = number_of(request)
        return KINDS[self.kinds.get(number, "answered")][3](number)


def plain(request: ReceivedRequest) -> HTTPStep:
    """Answer a turn of a loop with all it may have."""
    return HTTPStep(text=words(OUTPUT_CAP, number_of(request)))


def working(request: ReceivedRequest) -> HTTPStep:
    """Answer a job after a moment, in which one may be killed."""
    return HTTPStep(text=_answer(number_of(request)), delay_s=0.2)


def number_of(request: ReceivedRequest) -> int:
    """Return which call a request is for: the last number that stands in its text; -1 if it has none."""
    found = re.findall(r"call-(\d+)", msgspec.json.encode(request.body).decode())
    return int(found[-1]) if found else -1


class Billed(msgspec.Struct, frozen=True):
    """What the provider has on its bill: tokens, and how often by call."""

    tokens: int
    times: dict[int, int]


def billed(bill: Sequence[TokenUsage], billed_for: Sequence[ReceivedRequest]) -> Billed:
    """Add up a provider's bill."""
    return Billed(sum(usage.total for usage in bill), dict(Counter(map(number_of, billed_for))))


def storm_figures(job: Job, told: Told, bill: Billed) -> dict[str, Any]:
    """Return what a storm has shown.

    ``overspent``: tokens on the bill beyond the limit. ``room left``: plain calls that the money left would have paid
    when the last one was refused; ``None`` if none was. ``paid for nothing``: refusals of calls that are on the bill.
    """
    outcomes = dict(told.outcomes)
    probes = [outcome for number, outcome in told.outcomes if number >= PROBE]
    stopped = bool(probes) and probes[-1] == "refused"
    return {
        "limit": job.limit,
        "billed": bill.tokens,
        "recorded": round(told.spent),
        "overspent": max(0, bill.tokens - job.limit),
        "room left": max(0, job.limit - bill.tokens) // Call(PROBE).tokens if stopped else None,
        "recorded less billed": round(told.spent) - bill.tokens,
        "paid for nothing": sum(outcome == "refused" and bill.times.get(n, 0) > 0 for n, outcome in outcomes.items()),
        "billed twice": sum(max(0, times - 1) for times in bill.times.values()),
        "outcomes": dict(Counter(outcome for _, outcome in told.outcomes)),
    }


def loop_figures(job: Job, told: Told, bill: Billed) -> dict[str, Any]:
    """Return what a loop has shown: its turns until it was refused, and after which of them it was warned."""
    turns = [outcome for _, outcome in told.outcomes]
    stopped = len(turns) if turns and turns[-1] == "refused" else None
    return {
        "limit": job.limit,
        "billed": bill.tokens,
        "overspent": max(0, bill.tokens - job.limit),
        "refused at turn": stopped,
        "warned after turn": told.warned,
        "recorded less billed": round(told.spent) - bill.tokens,
        "paid for nothing": int(stopped is not None and bill.times.get(told.outcomes[-1][0], 0) > 0),
    }


def work_figures(job: Job, told: Told, before: Billed, after: Billed) -> dict[str, Any]:
    """Return what a kill has shown: spend that was forgotten, jobs that were paid twice, and jobs that were lost."""
    done = {number for number, outcome in told.outcomes if outcome == "answered"}
    return {
        "billed before": before.tokens,
        "forgotten": max(0, before.tokens - round(told.remembered)),
        "jobs paid before": len(before.times),
        "jobs paid twice": sum(times > 1 for times in after.times.values()),
        "jobs lost": sum(call.number not in done for call in job.calls),
        "recorded less billed": round(told.spent) - after.tokens,
    }
