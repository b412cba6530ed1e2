"""What exporters have set aside, because the other side will not take it."""

from litestar import get, post
from litestar.params import FromPath

from organism.api.dependencies import ControlOf
from organism.api.problems import Problem, ProblemError
from organism.api.scopes import needs
from organism.control.views import OrderDone
from organism.usage.cursors import SetAside


@get("/v1/exporters/set-aside", opt=needs("read"))
async def list_set_aside(control: ControlOf) -> tuple[SetAside, ...]:
    """List events that an exporter's other side has refused for good, oldest first."""
    return control.cursors.set_aside()


@post("/v1/exporters/{exporter:str}/retry", status_code=202, opt=needs("operate"))
async def retry_set_aside(exporter: FromPath[str], control: ControlOf) -> OrderDone:
    """Offer again what an exporter has set aside; what is taken leaves the list, what is refused again stays."""
    if not control.cursors.knows(exporter):
        detail = f"there is no exporter {exporter[:80]!r}; exporters are named under exporters: in organism.yaml"
        raise ProblemError(Problem(status=404, code="unknown_exporter", title="no such exporter", detail=detail))
    return OrderDone(tuple(aside.event_id for aside in control.cursors.retry(exporter)))


ROUTES = (list_set_aside, retry_set_aside)
