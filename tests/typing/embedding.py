"""What users write, as type checkers see it: read by mypy --strict and by pyright, and never run."""

from organism import BudgetWarning, Context, Limits, Organism, Text, ThreadResult, agent


@agent(next="writer")
async def planner(message: Text, ctx: Context) -> Text:
    answer = await ctx.llm.complete(message.text, max_output_tokens=20)
    return Text(answer.text)


@agent()
def writer(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    return None if isinstance(message, BudgetWarning) else message


async def run() -> str:
    async with Organism([planner, writer], limits=Limits(tokens=500)) as organism:
        result: ThreadResult = await organism.run("Write about tides")
        return result.text
