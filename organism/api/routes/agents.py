"""Agents and dead letters."""

from typing import Annotated, Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import may_read_content, needs
from organism.control.views import Accepted, AgentView, Letter, OrderDone

_LIMIT = "At most so many, the oldest; all of them unless given."


@get("/v1/agents", opt=needs("read"))
async def list_agents(
    request: Request[Any, Any, Any], control: ControlOf, content: FromQuery[bool] = False
) -> tuple[AgentView, ...]:
    """List agents with their state, what waits for them and what they have used."""
    return control.queries.agents(content=may_read_content(request, asked=content))


@post("/v1/agents/{agent:str}/pause", status_code=200, opt=needs("operate"))
async def pause_agent(agent: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Have an agent finish what it does and take nothing more."""
    return await control.pause_agent(agent, order=order)


@post(["/v1/agents/{agent:str}/resume", "/v1/agents/{agent:str}/unpause"], status_code=200, opt=needs("operate"))
async def resume_agent(agent: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Let an agent go on that was paused or has failed too often; ``unpause``, the name of the command, is the same."""
    return await control.resume_agent(agent, order=order)


@get("/v1/dead-letters", opt=needs("read"))
async def list_letters(
    request: Request[Any, Any, Any],
    control: ControlOf,
    content: FromQuery[bool] = False,
    limit: Annotated[int | None, QueryParameter(name="limit", ge=1, description=_LIMIT)] = None,
) -> tuple[Letter, ...]:
    """List messages that were given up on; what they and their errors say only with ``content=true``."""
    return control.queries.letters(content=may_read_content(request, asked=content), limit=limit)


@post("/v1/dead-letters/{message_id:str}/retry", status_code=202, opt=needs("operate"))
async def retry_letter(message_id: FromPath[str], control: ControlOf, order: OrderOf) -> Accepted:
    """Send a dead letter's message again: in its thread, or in a new one if that has ended."""
    return await control.retry_letter(message_id, order=order)


@delete("/v1/dead-letters/{message_id:str}", status_code=200, opt=needs("operate"))
async def discard_letter(message_id: FromPath[str], control: ControlOf, order: OrderOf) -> OrderDone:
    """Forget a dead letter."""
    return await control.discard_letter(message_id, order=order)


ROUTES = (list_agents, pause_agent, resume_agent, list_letters, retry_letter, discard_letter)
