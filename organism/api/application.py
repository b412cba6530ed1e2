"""The control API: routes by resource over one :class:`~organism.control.control.Control`, behind one gate.

Routes with an entrance of their own, such as those that speak another protocol, come as a
:class:`~organism.api.mounts.Mount`: the routes, and the rules of who may use them.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, cast

import msgspec
from litestar import Litestar, Request, Response, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.status_codes import HTTP_404_NOT_FOUND

from organism.api.auth_middleware import (
    BODY_MAX,
    FAILURES_PER_MINUTE,
    LOOPBACK_HOSTS,
    AccessRule,
    ASGIReceive,
    ASGIScope,
    ASGISend,
    AuthMiddleware,
    Carry,
    bearer,
)
from organism.api.dependencies import SERVED, Served
from organism.api.mounts import Mount
from organism.api.problems import (
    MEDIA_TYPE,
    Problem,
    ProblemError,
    log_unexpected,
    say_http_error,
    say_organism_error,
    say_problem,
    say_unexpected,
    say_unreadable,
)
from organism.api.routes import agents, approvals, budgets, events, exporters, ledger, system, threads, tokens, usage
from organism.api.routes.openapi_answers import completed, meanings_of
from organism.api.routes.pages import DASHBOARD
from organism.api.scopes import guard, needs, order_of
from organism.api.streams import Reader
from organism.api.strict import strict
from organism.api.tokens.token_book import TokenBook
from organism.control.control import Control
from organism.error_root import DISTRIBUTION
from organism.errors import OrganismError

_ROUTES = (
    *threads.ROUTES,
    *budgets.ROUTES,
    *ledger.ROUTES,
    *agents.ROUTES,
    *approvals.ROUTES,
    *events.ROUTES,
    *exporters.ROUTES,
    *system.ROUTES,
    *tokens.ROUTES,
    *usage.ROUTES,
)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How the API is served.

    Attributes:
        hosts: Host names beside loopback's that requests may mean, such as a reverse proxy's.
        groups: Routes that are mounted beside the API's own; the dashboard unless others are named.
        failures_per_minute: Bad tokens from one address, before it gets 429.
        carry: Takes each request that is let in to the application that answers it; straight there unless given.
    """

    hosts: tuple[str, ...] = ()
    groups: tuple[Mount, ...] = (DASHBOARD,)
    failures_per_minute: int = FAILURES_PER_MINUTE
    carry: Carry | None = None


class _CompletedDocument(JsonRenderPlugin):
    """Serves the OpenAPI document with what handlers do not say by themselves."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Write the document."""
        return super().render(request, completed_document(request.app, openapi_schema))


def completed_document(application: Litestar, document: dict[str, Any]) -> dict[str, Any]:
    """Return the OpenAPI document of an application with what its handlers and types say only in words."""
    handlers = [
        (route.path_format, handler)
        for route in application.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler)
    ]
    scopes = {
        (path, method.lower()): str(handler.opt.get("scope"))
        for path, handler in handlers
        for method in handler.http_methods
    }
    spoken = [
        field.annotation
        for _, each in handlers
        for field in (each.parsed_return_field, each.parsed_data_field)
        if field
    ]
    return completed(document, scopes, meanings_of(spoken))


class _Application(Litestar):
    """A Litestar application for msgspec's structs alone.

    Left alone, Litestar imports pydantic and attrs to serve their classes too, wherever they are installed: 75 ms of
    the half second until the daemon is ready, for classes that no route has.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


async def _no_page(response: Response[Any]) -> Response[Any]:
    """Refuse in our own shape what the framework answers with a page of its own."""
    if response.status_code != HTTP_404_NOT_FOUND:
        return response
    problem = Problem(status=404, code="no_such_route", title="request refused", detail="there is openapi.json here")
    return Response(problem, status_code=404, media_type=MEDIA_TYPE)


def build_application(control: Control, tokens: TokenBook, groups: Iterable[Mount] = ()) -> Litestar:
    """Make the application, which believes the gate about who its caller is.

    Args:
        control: The organism that answers where a request's scope names no other.
        tokens: Who may do what.
        groups: Routes beside the API's own.
    """
    own = Served(control, Reader(control))

    def control_of(request: Request[Any, Any, Any]) -> Control:
        return cast("Served", request.scope.get(SERVED, own)).control

    def reader_of(request: Request[Any, Any, Any]) -> Reader:
        return cast("Served", request.scope.get(SERVED, own)).reader

    return _Application(
        route_handlers=[*_ROUTES, *(route for group in groups for route in group.routes)],
        # No dependency may be called like a field of a body: the framework takes a fault in such a field for its own.
        dependencies={
            "control": Provide(control_of, sync_to_thread=False),
            "token_book": Provide(lambda: tokens, sync_to_thread=False),
            "reader": Provide(reader_of, sync_to_thread=False),
            "order": Provide(order_of),
        },
        guards=[guard, strict],
        after_exception=[log_unexpected],
        exception_handlers={
            ProblemError: say_problem,
            UnicodeDecodeError: say_unreadable,
            OrganismError: say_organism_error,
            ValidationException: say_http_error,
            HTTPException: say_http_error,
            Exception: say_unexpected,
        },
        openapi_config=OpenAPIConfig(
            title="organism",
            version=version(DISTRIBUTION),
            description="See and steer a running organism. Money is nano-USD, time is nanoseconds; both are integers.",
            use_handler_docstrings=True,
            components=Components(security_schemes={"token": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"token": []}],
            render_plugins=[_CompletedDocument()],
            openapi_router=Router(
                "/v1/schema", route_handlers=[], opt=needs("read"), include_in_schema=False, after_request=_no_page
            ),
        ),
        logging_config=None,
        request_max_body_size=BODY_MAX,
    )


def build_api(control: Control, tokens: TokenBook, options: Options | None = None) -> AuthMiddleware:
    """Make the whole API: the application and the gate in front of it."""
    options, components = options or Options(), control.components

    @cache  # made with the first request that is for it: a gateway's calls are not, and making it takes 75 ms
    def application() -> Litestar:
        return build_application(control, tokens, options.groups)

    async def routes(scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        await application()(scope, receive, send)  # type: ignore[arg-type]

    rules = [AccessRule(path, None) for path in system.OPEN_PATHS]
    rules += [AccessRule("/*", bearer(tokens.find)), *(rule for group in options.groups for rule in group.rules)]
    return AuthMiddleware(
        routes,
        rules,
        hosts=(*LOOPBACK_HOSTS, *options.hosts),
        now_ns=components.clock.monotonic_ns,
        failures_per_minute=options.failures_per_minute,
        unserved=_unserved(application, options.groups),
        carry=options.carry,
    )


def _unserved(application: Callable[[], Litestar], groups: Iterable[Mount]) -> Callable[[str], AccessRule | None]:
    """Return what finds the rule for paths of no route, where a group has one."""
    rules = sorted((rule for group in groups for rule in group.unserved), key=lambda rule: -len(rule.paths))

    @cache
    def served() -> list[list[str]]:
        return [route.path.strip("/").split("/") for route in application().routes]

    def unserved(path: str) -> AccessRule | None:
        asked = path.strip("/").split("/")
        if any(_fits(asked, pattern) for pattern in served()):
            return None
        return next((rule for rule in rules if rule.covers(path)), None)

    return unserved


def _fits(asked: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path is one of a route's; a parameter of the kind ``path`` takes all that follows."""
    if pattern[-1].endswith(":path}"):
        return list(asked[: len(pattern) - 1]) == list(pattern[:-1])
    return len(asked) == len(pattern) and all(
        part == wanted or wanted.startswith("{") for part, wanted in zip(asked, pattern, strict=True)
    )
