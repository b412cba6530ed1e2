"""Breakers: does an agent repeat itself, or spend in bursts? Pure; the runtime acts on the answer.

Three signs, each counted in one thread: the same call or the same tool result again and again; two of them in turn
(A-B-A-B), or two agents that only write to each other; and money that goes out far faster than is usual for the thread.
Each further time that a count reaches its limit is one step more: a note to the agent, then a pause, then the end.
Counts are kept in memory only. After a restart a loop is counted anew: it is noticed later, and never wrongly.
"""

from statistics import median
from typing import Final, Literal, get_args

import msgspec

from organism.errors import ConfigError
from organism.text.error_text import shown

BreakerKind = Literal["repeat", "alternate", "rate"]
"""``repeat``: the same again. ``alternate``: A-B-A-B. ``rate``: spend per minute far above the thread's own median."""

BreakerAction = Literal["note", "pause", "stop"]
"""``note``: the agent gets a note. ``pause``: the thread waits for an operator. ``stop``: it ends."""

WHAT_FOLLOWS: Final = {
    "note": "it was told",
    "pause": "the thread was paused",
    "stop": "the thread was ended",
    "": "nothing follows",
}
"""What is said of each action of a breaker."""

MINUTE_NS = 60_000_000_000


def _check_count(number: object, name: str, *, least: int = 0) -> None:
    if type(number) is not int or number < least:
        raise ConfigError(f"a whole number from {least}, not {shown(number)}", path=f"breakers.{name}")


class RateBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """When spend is too fast.

    Attributes:
        times: So many times the thread's own median of minutes in which it spent.
        minutes: Minutes of spend that must be known before.
    """

    times: int = 10
    minutes: int = 3

    def __post_init__(self) -> None:
        """Refuse what is no number.

        Raises:
            ConfigError: If so.
        """
        for name, number in (("times", self.times), ("minutes", self.minutes)):
            _check_count(number, f"rate.{name}", least=1)


class Breakers(msgspec.Struct, frozen=True, kw_only=True):
    """What trips, and what follows.

    Attributes:
        repeat: The same call, or the same result of the same tool, so many times in a row; 0 for never.
        alternate: Two of them in turn, or two agents writing to each other, for so many rounds; 0 for never.
        rate: Spend per minute; ``None`` for never.
        actions: What follows the first time, the second and so on; the last one from there on. Empty: only an event.
    """

    repeat: int = 3
    alternate: int = 3
    rate: RateBreaker | None = None
    actions: tuple[BreakerAction, ...] = ("note", "pause", "stop")

    def __post_init__(self) -> None:
        """Refuse what never trips by mistake.

        Raises:
            ConfigError: If something is no count, or there is no such action.
        """
        _check_count(self.repeat, "repeat")
        _check_count(self.alternate, "alternate")
        if not isinstance(self.rate, RateBreaker | None):
            raise ConfigError(f"RateBreaker(times=10) or None, not {shown(self.rate)}", path="breakers.rate")
        for action in self.actions:
            if action not in get_args(BreakerAction):
                there = ", ".join(get_args(BreakerAction))
                raise ConfigError(f"there is no {shown(action)}; there are: {there}", path="breakers.actions")

    def action(self, step: int) -> BreakerAction | None:
        """Return what follows the so-manieth time, from 1."""
        return self.actions[min(step, len(self.actions)) - 1] if self.actions else None


ONLY_TOLD = Breakers(actions=())
"""What holds where nothing is configured: operators see events, and no prompt and no thread is changed."""


class Trip(msgspec.Struct, frozen=True):
    """A breaker has tripped.

    Attributes:
        kind: Which.
        step: For the so-manieth time without a break, from 1.
        text: What goes round, in words.
    """

    kind: BreakerKind
    step: int
    text: str


class Recurrence:
    """What came one after another: how often the last came in a row, and for how many rounds two have alternated."""

    __slots__ = ("_before", "_in_turn", "_last", "_place", "_repeated")

    def __init__(self) -> None:
        self._before = self._last = ""
        self._repeated = 0
        self._in_turn = 1
        self._place = ("", -1)

    def add(self, item: str, what: str, breakers: Breakers, place: tuple[str, int] | None = None) -> Trip | None:
        """Count one more, and return what it has tripped.

        Args:
            item: What came; equal texts are the same.
            what: What to call it.
            breakers: What trips.
            place: The message it came in and its number there: what a second run of a handler does again is no repeat.
        """
        if place is not None:
            if place[0] == self._place[0] and place[1] <= self._place[1]:
                return None
            self._place = place
        self._repeated = self._repeated + 1 if item == self._last else 1
        self._in_turn = self._in_turn + 1 if item == self._before and item != self._last else 2
        self._before, self._last = self._last, item
        if step := _step(self._repeated, breakers.repeat):
            return Trip("repeat", step, f"{what} came {self._repeated} times in a row")
        rounds, half = divmod(self._in_turn, 2)
        if rounds > 1 and not half and (step := _step(rounds, breakers.alternate)):
            return Trip("alternate", step, f"{what} and the one before it came {rounds} times in turn")
        return None


class SpendRate:
    """What a thread spends from minute to minute, by what its account says at each of its calls."""

    __slots__ = ("_before", "_minute", "_minutes", "_step", "_tripped")

    def __init__(self, now_ns: int, spent: int) -> None:
        self._minute = now_ns // MINUTE_NS
        self._before = spent
        self._minutes: list[int] = []
        self._step = 0
        self._tripped = False

    def look(self, now_ns: int, spent: int, rate: RateBreaker) -> Trip | None:
        """Look at what was spent until a call, and return what that has tripped; once for each minute.

        Args:
            now_ns: The present instant.
            spent: What the thread's account has spent, in nano-USD, or in tokens where nothing has a price.
            rate: What trips.
        """
        trip = self._compare(spent - self._before, rate)
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            if not self._tripped:
                self._step = 0
                if spent > self._before:  # a minute of a burst is not usual, and does not become so
                    self._minutes = [*self._minutes[-59:], spent - self._before]
            self._minute, self._before, self._tripped = minute, spent, False
        return trip

    def _compare(self, in_minute: int, rate: RateBreaker) -> Trip | None:
        if self._tripped or len(self._minutes) < max(1, rate.minutes):
            return None
        usual = median(self._minutes)
        if in_minute <= rate.times * usual:
            return None
        self._tripped = True
        self._step += 1
        return Trip("rate", self._step, f"a minute has taken {in_minute / usual:.0f} times what a minute usually takes")


class LoopWatch:
    """What is counted of one thread.

    Attributes:
        rate: Its spend; ``None`` before its first call.
    """

    __slots__ = ("_in_turn", "_next", "_sequences", "rate")

    def __init__(self) -> None:
        self._sequences: dict[tuple[str, str], Recurrence] = {}
        self._next = ("", "")
        self._in_turn = 0
        self.rate: SpendRate | None = None

    def add_message(self, sender: str, recipient: str) -> int:
        """Count a message; if it ends a round of two agents that only write to each other, return the how-manieth."""
        self._in_turn = count = self._in_turn + 1 if (sender, recipient) == self._next else 1
        self._next = (recipient, sender)
        return 0 if count % 2 else count // 2

    def sequence(self, agent: str, of: str) -> Recurrence:
        """Return what is counted of an agent's calls, or of its tools."""
        return self._sequences.setdefault((agent, of), Recurrence())


def rounds_trip(sender: str, recipient: str, rounds: int, breakers: Breakers) -> Trip | None:
    """Return what so many rounds of two agents have tripped, if the last of them has."""
    if not (step := _step(rounds, breakers.alternate)):
        return None
    return Trip("alternate", step, f"{recipient} and {sender} have written to each other {rounds} times in turn")


def _step(count: int, limit: int) -> int:
    """Return for the so-manieth time a count has reached its limit, if it has just now; else 0."""
    return count // limit if limit and count % limit == 0 else 0
