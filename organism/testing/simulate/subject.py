"""What is simulated: an organism that is made again after each crash, and the messages that come to it."""

from abc import ABC, abstractmethod
from collections import Counter

import msgspec

from organism.amounts import Limits
from organism.app import Organism
from organism.control.components import OrganismSpec
from organism.messages import Message
from organism.testing.simulate.world import World


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A message from outside.

    Attributes:
        message: The message.
        to: The agent it is for; the entry agent unless given.
        limits: The thread's own limits, where it opens one.
        labels: Likewise, its labels.
    """

    message: Message | str
    to: str | None = None
    limits: Limits | None = None
    labels: dict[str, str] = {}


class Subject(ABC):
    """Subclass it to simulate an organism of your own.

    Args:
        world: What to make the organism with.

    Attributes:
        world: The same.
        failures: What is not right, each in a sentence; add your own with :meth:`wrong`.
        seen: What happened, counted; add your own with :meth:`saw`.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.failures: list[str] = []
        self.seen: Counter[str] = Counter()

    @abstractmethod
    def organism(self) -> Organism:
        """Make the organism with the world's journal, clock, ids and chance; called again after each crash."""

    @abstractmethod
    def opening(self, number: int) -> Opening:
        """Return the message that a number stands for."""

    def reload(self, organism: Organism, number: int) -> None:  # noqa: B027 - there need be nothing to reload
        """Reload the configuration; nothing unless overridden."""

    def rename(self, number: int) -> None:  # noqa: B027 - there need be nothing to rename
        """Leave out an agent that was there, or take it in again, for the next organism; nothing unless overridden."""

    def changed(self, spec: OrganismSpec, _number: int) -> OrganismSpec:
        """Return what the nodes of a cluster are made of after a reload; the same unless overridden."""
        return spec

    def wrong(self, what: str) -> None:
        """Say that something is not right: the run fails."""
        self.failures.append(what)

    def saw(self, what: str) -> None:
        """Count something that happened."""
        self.seen[what] += 1
