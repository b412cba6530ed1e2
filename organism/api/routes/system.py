"""The organism as a whole: its health and status, mode, reload, drain, stop."""

from typing import Annotated

from litestar import MediaType, Response, delete, get, post, put
from litestar.params import JSONBody, QueryParameter

from organism.api.bodies import DrainBody, FreezeBody, ModeBody
from organism.api.dependencies import ControlOf, OrderOf
from organism.api.scopes import OPEN, needs
from organism.budget.guards.freezes import Frozen
from organism.control.views import OrganismStatus, Reloaded

LabelQuery = Annotated[list[str] | None, QueryParameter(name="label")]
"""Labels, each as ``name=value``."""


OPEN_PATHS = ("/healthz", "/readyz")
"""What anybody may ask."""


@get("/healthz", media_type=MediaType.TEXT, opt=OPEN)
async def healthz() -> str:
    """Say that the process is alive."""
    return "ok"


@get("/readyz", media_type=MediaType.TEXT, opt=OPEN)
async def readyz(control: ControlOf) -> Response[str]:
    """Say whether new threads are taken."""
    ready = control.accepting
    return Response("ok" if ready else "stopping", status_code=200 if ready else 503, media_type=MediaType.TEXT)


@get("/v1/status", opt=needs("read"))
async def status(control: ControlOf) -> OrganismStatus:
    """Show the organism at this instant."""
    return control.status()


@put("/v1/mode", opt=needs("operate"))
async def set_mode(data: JSONBody[ModeBody], control: ControlOf, order: OrderOf) -> OrganismStatus:
    """Change what a reached limit does, from the next call on."""
    return await control.set_mode(data.mode, order=order)


@post("/v1/reload", status_code=200, opt=needs("admin"))
async def reload(control: ControlOf, order: OrderOf) -> Reloaded:
    """Read the configuration again and apply all of it, or nothing."""
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


@get("/v1/freeze", opt=needs("read"))
async def look_frozen(control: ControlOf, label: LabelQuery = None) -> Frozen:
    """Show what is frozen, what calls under way hold, and which threads wait."""
    return control.frozen(label)


@post("/v1/freeze", status_code=200, opt=needs("operate"))
async def freeze(data: JSONBody[FreezeBody], control: ControlOf, order: OrderOf) -> Frozen:
    """Stop all spending at once, or that of threads with a label."""
    return await control.freeze(data.which(), reason=data.reason, cancel=data.cancel, order=order)


@delete("/v1/freeze", status_code=200, opt=needs("operate"))
async def unfreeze(control: ControlOf, order: OrderOf, label: LabelQuery = None) -> Frozen:
    """Lift the freeze of just these labels, or of everything: what waits for it goes on."""
    return await control.unfreeze(label, order=order)


ROUTES = (
    healthz,
    readyz,
    status,
    set_mode,
    reload,
    drain,
    accept,
    stop,
    look_frozen,
    freeze,
    unfreeze,
)
