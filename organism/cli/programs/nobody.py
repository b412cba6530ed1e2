"""The agent of an organism that has none: its threads are a program's, and get no messages."""

from organism.agents.context import Context
from organism.messages import Text


async def nobody(message: Text, ctx: Context) -> None:
    """Answer nothing."""
