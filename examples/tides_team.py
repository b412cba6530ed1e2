"""The Python agent of the shipped organism.yaml: an editor between the critic and the writer."""

from organism import BudgetWarning, Context, Text


async def edit(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    """Pass the critic's notes on, asking for less once the budget runs low."""
    if isinstance(message, BudgetWarning):
        ctx.state["short"] = True
        return None
    if ctx.state.get("short"):
        return Text(f"The budget runs low: answer in one sentence.\n\n{message.text}")
    return Text(f"Write one short paragraph from these notes.\n\n{message.text}")
