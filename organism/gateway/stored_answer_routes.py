"""The routes of kept answers, for the callers they were given to."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from litestar import Request, Response, delete, get
from litestar.params import FromPath

from organism.api.scopes import caller_of, needs
from organism.formats.errors.faults import FaultError, bad_request
from organism.formats.errors.openai_errors import error_body
from organism.formats.server_format import Json
from organism.gateway.request_handler import Gateway, gateway_of


def stored_answer_handlers(gateway: Gateway) -> list[Any]:
    """Return the handlers below the path of responses."""

    @get("/{response_id:str}", opt=needs("send"), include_in_schema=False)
    async def show(request: Request[Any, Any, Any], response_id: FromPath[str]) -> Response[Json]:
        """Show a kept answer once more."""
        kept = gateway_of(request.scope, gateway).conversations
        return await said(lambda: kept.find(caller_of(request).name, response_id))

    @delete("/{response_id:str}", opt=needs("send"), include_in_schema=False, status_code=200)
    async def forget(request: Request[Any, Any, Any], response_id: FromPath[str]) -> Response[Json]:
        """Forget a kept answer."""
        serving = gateway_of(request.scope, gateway)

        async def forgotten() -> Json:
            serving.conversations.forget(caller_of(request).name, response_id)
            await serving.commit()
            return {"id": response_id, "object": "response", "deleted": True}

        return await said(forgotten)

    @get("/{response_id:str}/input_items", opt=needs("send"), include_in_schema=False)
    async def show_input(request: Request[Any, Any, Any], response_id: FromPath[str]) -> Response[Json]:
        """Show what a kept answer was given, a page at a time."""

        async def shown() -> Json:
            kept = gateway_of(request.scope, gateway).conversations
            items = await kept.input_items(caller_of(request).name, response_id)
            return page_of(items, request.query_params)

        return await said(shown)

    return [show, forget, show_input]


async def said(answer: Callable[[], Awaitable[Json]]) -> Response[Json]:
    """Return a handler's answer, or its fault as OpenAI writes it."""
    try:
        return Response(await answer())
    except FaultError as error:
        return Response(error_body(error.fault), status_code=error.fault.status)


PAGE = 20
"""Items of a page, unless the client asks for another number up to :data:`PAGE_MAX`."""

PAGE_MAX = 100


def page_of(items: Sequence[Json], asked: Mapping[str, Any]) -> Json:
    """Return a page of items as OpenAI does: the newest first, unless the client asks for another order.

    Raises:
        FaultError: If a parameter of the page is wrong.
    """
    order, limit, after = (asked.get(name) for name in ("order", "limit", "after"))
    if order not in {None, "asc", "desc"}:
        raise bad_request("order: it is 'asc' or 'desc'", "order")
    if limit is not None and not (str(limit).isdecimal() and 1 <= int(str(limit)[:9]) <= PAGE_MAX):
        raise bad_request(f"limit: it is a number from 1 to {PAGE_MAX}", "limit")
    listed = list(items) if order == "asc" else list(reversed(items))
    if after is not None:
        places = [place for place, item in enumerate(listed) if item["id"] == after]
        if not places:
            raise bad_request(f"after: there is no item with id {str(after)[:100]!r}", "after")
        listed = listed[places[0] + 1 :]
    shown = listed[: PAGE if limit is None else int(limit)]
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {"first_id": None, "last_id": None}
    return {"object": "list", "data": shown, "has_more": len(listed) > len(shown), **ends}
