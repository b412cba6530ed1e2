"""A fault: what is done to the program, what is measured meanwhile, and what the measure may be at most."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AtMost:
    """A figure is right up to a bound; of several tests that say it the largest counts."""

    bound: float

    def worst(self, values: list[float]) -> float:
        """Return the one that counts."""
        return max(values)

    def holds(self, value: float) -> bool:
        """Whether it is within the bound."""
        return value <= self.bound

    def __str__(self) -> str:
        """Write the pass line."""
        return f"<= {self.bound:g}"


@dataclass(frozen=True)
class AtLeast:
    """A figure is right from a bound on; of several tests that say it the smallest counts."""

    bound: float

    def worst(self, values: list[float]) -> float:
        """Return the one that counts."""
        return min(values)

    def holds(self, value: float) -> bool:
        """Whether it is within the bound."""
        return value >= self.bound

    def __str__(self) -> str:
        """Write the pass line."""
        return f">= {self.bound:g}"


PassLine = AtMost | AtLeast
NONE = AtMost(0)
"""There may be none of it."""


@dataclass(frozen=True)
class Fault:
    """One entry.

    Attributes:
        name: ``F1`` to ``F51``.
        title: What goes wrong.
        injection: How it is made to go wrong: with which real parts.
        tests: What is run; each of these must pass.
        figures: What these tests measure (``record_property``), and the line that it may not pass.
        why_not: Why it does not apply, if it does not; then there are no tests.
        options: Further options of pytest, such as how often something is killed.
    """

    name: str
    title: str
    injection: str
    tests: tuple[str, ...] = ()
    figures: Mapping[str, PassLine] = field(default_factory=dict)
    why_not: str = ""
    options: tuple[str, ...] = ()
