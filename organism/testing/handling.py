"""One run of one agent, for unit tests: a message in, and what the agent sent, kept and spent out."""

from collections.abc import Sequence

import msgspec

from organism.agents.agent import Agent, agent
from organism.agents.context import Context
from organism.amounts import Amounts, Limits
from organism.app import Organism
from organism.messages import Message
from organism.providers.scripted import ScriptedAnswer, ScriptedProvider
from organism.testing.virtual_time import VirtualClock


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a message.

    Attributes:
        sent: To whom the agent sent what, in order; ``user`` for what it returned or replied without a recipient.
        spent: What its calls cost.
        error: Why it failed; ``None`` when it did not.
    """

    sent: tuple[tuple[str, Message], ...]
    spent: Amounts
    error: str | None = None


async def handle_message(
    subject: Agent,
    message: Message | str,
    *,
    answers: Sequence[str | ScriptedAnswer] = ("ok",),
    limits: Limits | None = None,
    dependencies: Sequence[Agent] = (),
) -> Handled:
    """Have an agent handle one message in an organism of its own, in memory, and say what it did.

    Its peers are stand-ins that answer nothing, unless they are given as ``dependencies``. Use it in virtual time:
    ``organism.testing.run(test)``.

    Args:
        subject: The agent.
        message: What it handles; text becomes :class:`Text`.
        answers: What its model answers, again from the first after the last.
        limits: The thread's limits.
        dependencies: Agents that it asks, and that answer as they are.
    """
    sent: list[tuple[str, Message]] = []
    present = {subject.name, *(each.name for each in dependencies)}
    missing = dict.fromkeys(name for name in (*subject.next, *(subject.peers or ())) if name not in {*present, "*"})
    organism = Organism(
        [subject, *dependencies, *(_stand_in(name, sent) for name in missing)],
        models={"main": "scripted/any"},
        providers={"scripted": ScriptedProvider(answers)},
        provider_kinds={"scripted": "local"},
        limits=limits,
        clock=VirtualClock(),
        on_exhausted="fail",
    )
    async with organism:
        result = await organism.run(message)
        failed = next(iter(organism.dead_letters()), None)
    sent.extend(("user", output) for output in result.outputs)
    return Handled(
        sent=tuple(sent), spent=result.budget.spent, error=failed.detail if failed is not None else result.reason
    )


def _stand_in(name: str, sent: list[tuple[str, Message]]) -> Agent:
    async def receive(message: Message, ctx: Context) -> None:  # noqa: ARG001 - every handler takes it
        sent.append((name, message))

    return agent(name)(receive)
