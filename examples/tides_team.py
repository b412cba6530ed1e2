"""The Python agent of the shipped organism.yaml: an editor between the critic and the writer."""

from organism import BudgetWarning, Context, Text


async def edit(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    """Pass the critic's text on to be rewritten, as one sentence once the budget runs low."""
    if isinstance(message, BudgetWarning):
        ctx.state["short"] = True
        return None
    wish = "Say this in one sentence:" if ctx.state.get("short") else "Rewrite this as a short paragraph:"
    return Text(f"{wish}\n\n{message.text}")
