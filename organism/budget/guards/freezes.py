"""Freezes: an operator has stopped all spending, or that of threads with a label. Pure.

A freeze is asked before any limit, in the step that would hold: so it stops a model call, a child's carved limit and
whatever else costs money alike, in every mode. What is refused by one waits, and goes on when the freeze is lifted.
"""

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from organism.amounts import NS_PER_S, Amounts
from organism.errors import ConfigError, Refusal

FREEZE_ACCOUNT = "freeze"
"""What a refusal by a freeze names in the place of an account."""

FreezeLabels = str | Mapping[str, str] | Iterable[str] | None
"""Labels as people write them: ``"tenant=acme"``, several of these, or a mapping; ``None`` for every thread."""


class Freeze(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Spending is stopped until an operator lifts this.

    Attributes:
        labels: Only threads with all of these labels; every thread when there are none.
        by: Who has ordered it.
        since_ns: Since when, nanoseconds since the Unix epoch.
        reason: Why, in a few words.
    """

    labels: dict[str, str] = {}
    by: str
    since_ns: int
    reason: str = ""

    @property
    def scope(self) -> str:
        """What is frozen: ``tenant=acme``; empty for everything."""
        return scope_of(self.labels)

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Whether a thread with these labels is frozen by it."""
        return all(labels.get(name) == value for name, value in self.labels.items())

    def refusal(self) -> Refusal:
        """Return what a hold is answered."""
        return Refusal(FREEZE_ACCOUNT, "calls", 0, 0, 0, 1, cause="freeze", note=str(self))

    def __str__(self) -> str:
        """Say what is frozen, since when, by whom, why, and how to go on."""
        since = datetime.fromtimestamp(self.since_ns // NS_PER_S, UTC)
        of = f" of threads with {self.scope}" if self.labels else ""
        why = f": {self.reason}" if self.reason else ""
        lift = shlex.join(("organism", "unfreeze", *(f"{name}={value}" for name, value in sorted(self.labels.items()))))
        return f"spending{of} is frozen since {since:%Y-%m-%d %H:%M:%S} UTC by {self.by}{why}; to go on: {lift}"


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """What is frozen, and what is under way all the same.

    Attributes:
        freezes: The active freezes, oldest first.
        held: What calls that left before hold still, of the threads that this is about: it may yet be charged.
        threads: Those of these threads that wait because of a freeze.
        cancelled: Calls under way that were closed by this order.
        unanswered: Parts of a cluster that did not answer in time, and are not in this.
    """

    freezes: tuple[Freeze, ...]
    held: Amounts
    threads: tuple[str, ...] = ()
    cancelled: int = 0
    unanswered: tuple[str, ...] = ()


class Freezes:
    """The active freezes."""

    def __init__(self) -> None:
        self._by_scope: dict[str, Freeze] = {}

    def __bool__(self) -> bool:
        return bool(self._by_scope)

    @property
    def all(self) -> tuple[Freeze, ...]:
        """All of them, oldest first."""
        return tuple(self._by_scope.values())

    def add(self, freeze: Freeze) -> bool:
        """Add one; ``False`` if the same labels are frozen already, which stays as it was."""
        return self._by_scope.setdefault(freeze.scope, freeze) is freeze

    def lift(self, scope: str) -> Freeze | None:
        """Lift the freeze of exactly these labels and return it; ``None`` if there is none."""
        return self._by_scope.pop(scope, None)

    def of(self, labels: Mapping[str, str]) -> Freeze | None:
        """Return the oldest freeze that covers a thread with these labels."""
        return next((freeze for freeze in self._by_scope.values() if freeze.covers(labels)), None)


def scope_of(labels: Mapping[str, str]) -> str:
    """Name what a freeze of these labels is about; empty for everything."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def labels_of(written: FreezeLabels) -> dict[str, str]:
    """Read labels as people write them: ``tenant=acme``, ``label=tenant=acme``, a list of these, or a mapping.

    Raises:
        ConfigError: If one of them is none.
    """
    if written is None:
        return {}
    if isinstance(written, Mapping):
        pairs = list(written.items())
    else:
        texts = [written] if isinstance(written, str) else list(written)
        pairs = [_pair(text) for text in texts if text]
    for name, value in pairs:
        if not (isinstance(name, str) and isinstance(value, str) and name and value):
            raise ConfigError(f"write a label as name=value, not {name!r}: {value!r}", path="label")
    return dict(pairs)


def _pair(text: object) -> tuple[str, str]:
    if not isinstance(text, str) or "=" not in text:
        raise ConfigError(f"write a label as name=value, such as tenant=acme, not {text!r}", path="label")
    _, keyword, rest = text.partition("label=")
    if text.startswith("label=") and keyword and "=" in rest:
        text = rest
    name, _, value = text.partition("=")
    return name.strip(), value.strip()
