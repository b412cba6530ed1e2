"""Budgets of every scope: look at them, set their limits, move them."""

from typing import Annotated

from litestar import Response, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from organism.amounts import BudgetState
from organism.api.bodies import AdjustBody, LimitsBody, MoveBody
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import needs
from organism.control.accounts import AccountFilter, AccountKind
from organism.control.listing.account_page import ACCOUNTS_MAX, next_page
from organism.control.views import AccountState, Corrected
from organism.ledger.explain import BudgetTrace

_SCOPE = "Of one of these; repeat it for several. Of any unless one is named."
_SEARCH = "Words that each stand in the account's name, in any case."
_CURSOR = "Goes on behind this account: the last one of a page. The Link header has the address of the next page."


@get("/v1/budgets", opt=needs("read"))
async def list_budgets(
    control: ControlOf,
    scopes: Annotated[list[AccountKind] | None, QueryParameter(name="scope", description=_SCOPE)] = None,
    search: Annotated[str, QueryParameter(name="search", max_length=200, description=_SEARCH)] = "",
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=ACCOUNTS_MAX)] = ACCOUNTS_MAX,
    cursor: Annotated[str, QueryParameter(name="cursor", max_length=2000, description=_CURSOR)] = "",
) -> Response[tuple[AccountState, ...]]:
    """List accounts in the order of their names: threads, agents, models, providers, labels, and the organism's."""
    wanted = AccountFilter(kinds=frozenset(scopes or ()), search=search)
    page = control.queries.find_budgets(wanted, limit=limit, after=cursor)
    link = next_page(page, scopes or (), search, limit)
    return Response(page, headers={"link": link} if link else None)


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
