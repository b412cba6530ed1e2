"""The organism as a whole: its health and status, usage, mode, reload, drain, stop."""

from typing import Annotated

from litestar import MediaType, Response, delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from organism.api.bodies import DrainBody, ModeBody
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import OPEN, needs
from organism.control.views import By, OrganismStatus, Reloaded, Usage


@get("/healthz", media_type=MediaType.TEXT, opt=OPEN)
async def healthz() -> str:
    """Say that the process is alive."""
    return "ok"


@get("/readyz", media_type=MediaType.TEXT, opt=OPEN)
async def readyz(control: ControlOf) -> Response[str]:
    """Say whether new threads are taken."""
    ready = control.components.pump.statistics().accepting
    return Response("ok" if ready else "stopping", status_code=200 if ready else 503, media_type=MediaType.TEXT)


@get("/v1/status", opt=needs("read"))
async def status(control: ControlOf) -> OrganismStatus:
    """Show the organism at this instant."""
    return control.status()


@get("/v1/usage", opt=needs("read"))
async def usage(control: ControlOf, by: Annotated[By, QueryParameter(name="by")] = "agent") -> Usage:
    """Sum up since the start of the process, broken down by agent, model, thread, day or label."""
    return control.queries.usage(by)


@put("/v1/mode", opt=needs("operate"))
async def set_mode(data: JSONBody[ModeBody], control: ControlOf, order: OrderOf) -> OrganismStatus:
    """Change what a reached limit does, from the next call on."""
    return await control.set_mode(data.mode, order=order)


@post("/v1/reload", status_code=200, opt=needs("admin"))
async def reload(control: ControlOf, order: OrderOf) -> Reloaded:
    """Read the configuration again: all of it is put in force, or nothing."""
    return await control.reload_configuration(order=order)


@post("/v1/drain", status_code=200, opt=needs("admin"))
async def drain(data: JSONBody[DrainBody], control: ControlOf, order: OrderOf) -> OrganismStatus:
    """Take no new threads from now on, and answer when the open ones have come to rest or the time is up."""
    return await control.drain(data.within_seconds, order=order)


@delete("/v1/drain", status_code=200, opt=needs("admin"))
async def accept(control: ControlOf, order: OrderOf) -> OrganismStatus:
    """Take new threads again, unless the daemon is ending."""
    return await control.accept(order=order)


@post("/v1/stop", status_code=202, opt=needs("admin"))
async def stop(control: ControlOf, order: OrderOf) -> OrganismStatus:
    """Stop the daemon in good order: it drains, settles what runs, and ends."""
    return await control.stop(order=order)


ROUTES = (healthz, readyz, status, usage, set_mode, reload, drain, accept, stop)
