"""Runs of tools with a price: held at the worst case before they begin, charged by duration and result after."""

from contextlib import AsyncExitStack, suppress

import anyio

from organism.agents.context import Context
from organism.agents.tools.tool import AgentTool, ToolContent, ToolOutput, ToolRun, output_of, result_of
from organism.amounts import dollars_of
from organism.errors import BudgetExhaustedError, OrganismError, Refusal
from organism.llm.requests import TextPart, ToolCall, ToolResult
from organism.pricing.tool_prices import ToolPrice, units_of
from organism.router.spending.expense import Expense


class ToolRefusedError(OrganismError):
    """A limit refuses the price of a run, which has not begun.

    Attributes:
        shortage: The refusal.
    """

    def __init__(self, shortage: BudgetExhaustedError) -> None:
        self.shortage = shortage
        super().__init__(str(shortage))


async def run_tool(tool: AgentTool, call: ToolCall, work: ToolRun, ctx: Context) -> ToolResult:
    """Run a tool within its bounds; every error of the call or the tool becomes its result.

    Raises:
        ToolRefusedError: A limit refuses its price; it has not begun.
    """
    price = tool.rules.price
    if price is None:
        return result_of(tool, call, await output_of(tool, work, ctx))
    expense = Expense(
        what=tool.spec.name,
        cost_nanousd=price.worst_case(tool.rules.timeout_s),
        operation="execute_tool",
        price_source=price.source,
    )
    async with AsyncExitStack() as stack:
        try:
            hold = await stack.enter_async_context(ctx.holding(expense))
        except BudgetExhaustedError as error:
            raise ToolRefusedError(error) from None
        begun = anyio.current_time()
        output = await output_of(tool, work, ctx)
        seconds = anyio.current_time() - begun
        # No await from here to the step that keeps the result: a paid result is kept together with its charge.
        if output.ran is False:
            hold.release()
        elif output.ran is None:
            hold.note = "it was cut short, and may have done its work"
            hold.abandon(done=True)
        else:
            units = _units(price, output)
            hold.note = _made_of(price, seconds, units)
            cost = dollars_of(price.cost(seconds, units))
            hold.settle(usd=cost, estimated=price.unit > 0 and units is None)
    return result_of(tool, call, output)


def _units(price: ToolPrice, output: ToolOutput) -> int | None:
    """Return the paid units of a result: 0 for an error, ``None`` if they cannot be counted."""
    if not price.unit:
        return None
    return 0 if output.is_error else units_of(price, _text(output.content))


def _made_of(price: ToolPrice, seconds: float, units: int | None) -> str:
    parts = [f"{seconds:.3g} s"] if price.second else []
    if price.unit:
        name = price.of or "results"
        parts.append(f"{name} that cannot be counted" if units is None else f"{units:,} {name}")
    return ", ".join(parts)


def _text(content: ToolContent) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


async def refused_run(call: ToolCall, error: BudgetExhaustedError, ctx: Context) -> ToolResult:
    """Make the message wait for the budget of a refused tool, or return the refusal to the model.

    The model gets it if the organism is set to fail, and if only the final reserve stands against the price.
    """
    if not _only_final_reserve_left(error.refusal):
        with suppress(BudgetExhaustedError):
            await ctx.wait_for(error)
    return ToolResult(call.id, f"{call.name!r} was not run, there is no budget for it: {error.refusal}", is_error=True)


def _only_final_reserve_left(shortfall: Refusal) -> bool:
    needs = shortfall.spent + shortfall.held + shortfall.needed
    return bool(shortfall.final_reserve) and needs <= shortfall.limit
