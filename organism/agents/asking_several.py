"""Several questions at once: how they are asked side by side, and what comes back."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import anyio

from organism.agents import arguments
from organism.errors import AskError, AskFailedError, ConfigError
from organism.messages import Message, Text
from organism.text.error_text import shown

QUESTIONS_MAX = 10_000
"""Questions that may be on their way at once."""


class Asks(Protocol):
    """Gives a question its number among those of its handler; calling what comes back asks it."""

    def __call__(
        self, recipient: str, message: Message, timeout_s: float, *, beside: bool = False
    ) -> Callable[[], Awaitable[Message]]:
        """Number a question."""
        ...


async def ask_all(
    ask: Asks, questions: Sequence[tuple[str, Message]], *, timeout_s: float, limit: int | None
) -> list[Message | AskFailedError]:
    """Ask several questions side by side; see :meth:`organism.agents.context.Context.gather`.

    Raises:
        ConfigError: If an argument is wrong.
    """
    if limit is not None:
        arguments.whole(limit, "limit", least=1, most=QUESTIONS_MAX)
    arguments.seconds(timeout_s, "timeout_s")
    for question in arguments.several(questions, "the questions"):
        if not isinstance(question, tuple) or len(question) != 2:  # noqa: PLR2004 - recipient and message
            raise ConfigError(f"a question is a pair of recipient and message, not {shown(question)}")
        arguments.text(question[0], "the recipient", empty=False)
    replies: dict[int, Message | AskFailedError] = {}
    # Numbered before any task starts, in whatever order: a second run of the handler finds the same replies.
    numbered = [(recipient, ask(recipient, message, timeout_s, beside=True)) for recipient, message in questions]
    left = iter(enumerate(numbered))

    async def ask_in_turn() -> None:
        for place, (recipient, send) in left:
            try:
                replies[place] = await send()
            except AskFailedError as error:
                replies[place] = error
            except AskError as error:
                replies[place] = AskFailedError(recipient, str(error))

    async with anyio.create_task_group() as tasks:
        for _ in range(min(limit or len(numbered), len(numbered))):
            tasks.start_soon(ask_in_turn)
    return [replies[place] for place in range(len(numbered))]


def each_for(recipient: str, items: Iterable[Message | str]) -> list[tuple[str, Message]]:
    """Return a question to one agent for each item.

    Raises:
        ConfigError: If the items are not several.
    """
    if isinstance(items, str | bytes | Message) or not isinstance(items, Iterable):
        raise ConfigError(f"the items must be several messages or texts, not {shown(items)}")
    return [(recipient, Text(item) if isinstance(item, str) else item) for item in items]
