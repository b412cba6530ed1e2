"""Paused agents outlast the process: what an operator has stopped stays stopped until an operator says otherwise.

Paused threads need no keeping here: that they are is part of what the journal keeps of a thread.
"""

from contextlib import suppress

import msgspec

from organism.control.orders.pausing import Pausing
from organism.errors import UnknownRecipientError
from organism.journal import Drop, Journal, Keep, Pieces

_KIND = "paused_agent"
_PREFIX = f"{_KIND}:"


class PausedAgent(msgspec.Struct, frozen=True, tag=True):
    """Somebody has paused this agent."""

    name: str


class AgentPauses:
    """Pauses and resumes agents, and keeps which are paused."""

    def __init__(self, journal: Journal, pauses: Pausing) -> None:
        self._journal = journal
        self._pauses = pauses
        self._kept: set[str] = set()

    def restore(self, pieces: Pieces) -> None:
        """Pause again what an earlier run had paused, before anything is set going."""
        for piece, _ in pieces.read(_KIND, PausedAgent):
            agent = piece.key.removeprefix(_PREFIX)
            self._kept.add(agent)
            with suppress(UnknownRecipientError):  # it is not in the configuration any more
                self._pauses.pause_agent(agent)
        self.forget_gone()

    def forget_gone(self) -> None:
        """Forget pauses of agents that are not active any more, so that one of that name begins as it should."""
        for agent in sorted(self._kept - self._pauses.paused_agents):
            self._drop(agent)

    def pause_agent(self, agent: str) -> tuple[str, ...]:
        """Have an agent take no more messages, and return its name; see :meth:`Pausing.pause_agent`."""
        self._pauses.pause_agent(agent)
        self._kept.add(agent)
        self._journal.append(Keep(_PREFIX + agent, "", PausedAgent(agent)))
        return (agent,)

    def resume_agent(self, agent: str) -> tuple[str, ...]:
        """Let an agent take messages again, and return its name; see :meth:`Pausing.resume_agent`."""
        self._pauses.resume_agent(agent)
        self._drop(agent)
        return (agent,)

    def _drop(self, agent: str) -> None:
        self._kept.discard(agent)
        self._journal.append(Drop(_PREFIX + agent, ""))
