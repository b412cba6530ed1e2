"""Budgets of every scope: look at them, set their limits, move them."""

from litestar import get, post, put
from litestar.params import FromPath, JSONBody

from organism.amounts import BudgetState
from organism.api.bodies import AdjustBody, LimitsBody, MoveBody
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import needs
from organism.control.views import AccountState, Corrected
from organism.ledger.explain import BudgetTrace


@get("/v1/budgets", opt=needs("read"))
async def list_budgets(control: ControlOf) -> tuple[AccountState, ...]:
    """List every account: threads, agents, models, and the organism's day and month."""
    return control.queries.budgets()


@get("/v1/budgets/{account:str}", opt=needs("read"))
async def show_budget(account: FromPath[str], control: ControlOf) -> AccountState:
    """Show an account; a plain name is a thread's."""
    return control.queries.budget(account)


@get("/v1/budgets/{account:str}/story", opt=needs("read"))
async def tell_story(account: FromPath[str], control: ControlOf) -> BudgetTrace:
    """Tell where a thread's budget has gone: every hold, what became of it, its price, and what was refused."""
    return await control.queries.story(account)


@put("/v1/budgets/{account:str}/limits", opt=needs("operate"))
async def set_limits(
    account: FromPath[str], data: JSONBody[LimitsBody], control: ControlOf, order: OrderOf
) -> BudgetState:
    """Give an account new limits, all of them; what waited for them goes on."""
    return await control.set_limits(account, data.limits(), order=order)


@post("/v1/budgets/{account:str}/move", status_code=200, opt=needs("operate"))
async def move_limits(
    account: FromPath[str], data: JSONBody[MoveBody], control: ControlOf, order: OrderOf
) -> BudgetState:
    """Raise or lower an account's limits by so much; what waited for them goes on."""
    return await control.move_limits(account, data.change(), order=order)


@post("/v1/budgets/{account:str}/adjust", status_code=200, opt=needs("admin"))
async def adjust_budget(
    account: FromPath[str], data: JSONBody[AdjustBody], control: ControlOf, order: OrderOf
) -> Corrected:
    """Correct what an account has spent, as after an invoice; returns every account that this counts on."""
    return await control.adjust_budget(account, data.amounts(), data.reason, order=order)


ROUTES = (list_budgets, show_budget, tell_story, set_limits, move_limits, adjust_budget)
