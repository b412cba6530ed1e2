"""The paths of answers that are kept: looked at and forgotten by those they were given to."""

from typing import Any

from litestar import Request, Response, delete, get
from litestar.params import FromPath

from organism.api.scopes import caller_of, needs
from organism.formats.errors.faults import FaultError
from organism.formats.errors.openai_errors import error_body
from organism.formats.server_format import Json
from organism.gateway.request_handler import Gateway


def stored_answer_handlers(gateway: Gateway) -> list[Any]:
    """Return what answers below the path of responses."""

    @get("/{response_id:str}", opt=needs("send"), include_in_schema=False)
    async def show(request: Request[Any, Any, Any], response_id: FromPath[str]) -> Response[Json]:
        """Show a kept answer once more."""
        try:
            return Response(await gateway.conversations.find(caller_of(request).name, response_id))
        except FaultError as error:
            return Response(error_body(error.fault), status_code=error.fault.status)

    @delete("/{response_id:str}", opt=needs("send"), include_in_schema=False, status_code=200)
    async def forget(request: Request[Any, Any, Any], response_id: FromPath[str]) -> Response[Json]:
        """Forget a kept answer."""
        try:
            gateway.conversations.forget(caller_of(request).name, response_id)
        except FaultError as error:
            return Response(error_body(error.fault), status_code=error.fault.status)
        await gateway.commit()
        return Response({"id": response_id, "object": "response", "deleted": True})

    return [show, forget]
