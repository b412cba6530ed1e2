"""The gateway's routes: beside the API's own and behind the same middleware, with their own keys and larger bodies."""

from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.types import ASGIApp

from organism.api.auth_middleware import (
    CALLER,
    HEADERS,
    AccessRule,
    ASGIReceive,
    ASGIScope,
    ASGISend,
    RequestBounds,
)
from organism.api.mounts import Mount
from organism.api.problems import Problem, ProblemError, log_unexpected
from organism.api.scopes import caller_of, check_scope, needs
from organism.api.tokens.token_book import Caller, TokenBook
from organism.errors import OrganismError
from organism.formats import server_formats
from organism.formats.errors.faults import Fault, FaultError, FaultKind, bad_request
from organism.formats.errors.openai_errors import error_body
from organism.formats.google_content.server_request import STREAM_TYPES
from organism.formats.server_format import Json, ServerFormat
from organism.gateway import request_handler
from organism.gateway.conversation_routes import CONVERSATIONS, conversation_handlers
from organism.gateway.errors import unknown_model
from organism.gateway.keys import authenticate, listed
from organism.gateway.stored_answer_routes import stored_answer_handlers

MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
FORMATS: Mapping[str, ServerFormat] = {
    "/v1/chat/completions": server_formats.CHAT,
    "/v1/completions": server_formats.COMPLETIONS,
    RESPONSES: server_formats.RESPONSES,
    "/v1/embeddings": server_formats.EMBEDDINGS,
    MESSAGES: server_formats.MESSAGES,
    # Programs that take the version for a part of ANTHROPIC_BASE_URL leave it out.
    "/messages": server_formats.MESSAGES,
}
"""The formats, by path."""

COUNTS: Mapping[str, tuple[str, Json]] = {
    f"{MESSAGES}/count_tokens": (MESSAGES, {}),
    f"{RESPONSES}/input_tokens": (RESPONSES, {"object": "response.input_tokens"}),
}
"""Paths that count input: the format's path, and the fields beside the count in the answer."""

GOOGLE = "/v1beta/models"
"""The prefix of Google's paths, which continue with a model, a colon and a verb."""

_GOOGLE = server_formats.GOOGLE
_GOOGLE_DOES: Mapping[str, tuple[ServerFormat, Json]] = {
    "generateContent": (_GOOGLE, {"stream": False}),
    "streamGenerateContent": (_GOOGLE, {"stream": True}),
    "embedContent": (server_formats.GOOGLE_EMBEDDING, {}),
    "batchEmbedContents": (server_formats.GOOGLE_EMBEDDINGS, {}),
}
"""Google's verbs other than ``countTokens``: the format of each, and the fields that it gives."""

_BATCHES: Mapping[str, Callable[[Fault], Json]] = {
    "/v1/files": error_body,
    "/v1/batches": error_body,
    f"{MESSAGES}/batches": FORMATS[MESSAGES].error,
}
"""Paths of batch APIs, which are refused, and what writes the error."""

_NO_BATCHES = "batches are not served; make their calls side by side, each is held on the same budget"

PLAIN_PATHS: Mapping[str, tuple[str, ...]] = {
    "/v1/models": ("GET",),
    "/v1/models/*": ("GET",),
    CONVERSATIONS: ("POST",),
    f"{CONVERSATIONS}/*": ("GET", "POST", "DELETE"),
}
"""The other paths, which write errors as OpenAI does, and their methods."""

BOUNDS = RequestBounds(body=32 * 1024 * 1024, depth=128, receive_s=60.0)
"""Bounds of requests: room for some images in base64 and for deep schemas, time for slow uploads."""

_KINDS: dict[int, FaultKind] = {401: "key", 403: "permission", 404: "not_found", 413: "too_large", 429: "rate"}

_UNEXPECTED = Fault(
    status=500,
    kind="unavailable",
    code="internal_error",
    message="something went wrong here; the daemon's log has more under the answer's x-request-id",
    retry=False,
)

_UNKNOWN_VERB = Fault(
    status=404,
    kind="not_found",
    code="no_such_route",
    message=f"models here do {', '.join(map(repr, _GOOGLE_DOES))} and 'countTokens', in calls of their own",
    retry=False,
)

Handlers = dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]]


def gateway_group(gateway: request_handler.Gateway, tokens: TokenBook) -> Mount:
    """Return the gateway's routes and their access rules."""

    def token_of(secret: str) -> Caller | None:
        return tokens.find(secret) if gateway.settings.tokens else None

    tokens.list_also(lambda: listed(gateway.settings.keys))
    known = authenticate(gateway.payers.key_of, token_of)
    apps = {path: _CallApp(gateway, format_) for path, format_ in FORMATS.items()}
    routers = [
        Router(
            path,
            route_handlers=_route_handlers_of(gateway, format_, apps[path]),
            exception_handlers=_exception_handlers(format_.error),
        )
        for path, format_ in FORMATS.items()
    ]
    counts = {path: (FORMATS[of], beside) for path, (of, beside) in COUNTS.items()}
    routers += [
        Router(
            path,
            route_handlers=[_counting(gateway, format_, beside)],
            exception_handlers=_exception_handlers(format_.error),
        )
        for path, (format_, beside) in counts.items()
    ]
    routers.append(
        Router(
            CONVERSATIONS,
            route_handlers=conversation_handlers(gateway),
            exception_handlers=_exception_handlers(error_body),
        )
    )
    routers += [_models(gateway, gateway.meta().created_s), _google(gateway)]
    rules = [_rule(path, format_.error, known, apps[path], methods=("POST",)) for path, format_ in FORMATS.items()]
    rules += [_rule(path, format_.error, known, methods=("POST",)) for path, (format_, _beside) in counts.items()]
    rules += [_rule(f"{path}/*", format_.error, known) for path, format_ in FORMATS.items()]
    rules += [_rule(path, error_body, known, methods=methods) for path, methods in PLAIN_PATHS.items()]
    rules += [
        _rule(path, _GOOGLE.error, known, methods=methods)
        for path, methods in ((GOOGLE, ("GET",)), (f"{GOOGLE}/*", ("GET", "POST")))
    ]
    unserved = [
        *(AccessRule(f"{path}*", None, _problem_writer(write, _NO_BATCHES)) for path, write in _BATCHES.items()),
        AccessRule("/*", None, _problem_writer(error_body)),
        AccessRule("/v1beta/*", None, _problem_writer(_GOOGLE.error)),
    ]
    unserved += [AccessRule(f"{path}/*", None, _problem_writer(format_.error)) for path, format_ in FORMATS.items()]
    return Mount(tuple(routers), tuple(rules), tuple(unserved))


def _route_handlers_of(gateway: request_handler.Gateway, format_: ServerFormat, app: "_CallApp") -> list[Any]:
    return [_answering(app), *(stored_answer_handlers(gateway) if format_.keeps_answers else ())]


def _answering(app: "_CallApp") -> Any:
    @post(opt=needs("send"), include_in_schema=False, request_max_body_size=BOUNDS.body)
    async def answer() -> ASGIApp:
        """Answer a call whose path differs from the format's, say by a slash; others bypass the framework."""
        return app  # type: ignore[return-value]

    return answer


class _CallApp:
    """Answers the calls of one format: an ASGI application behind the middleware that bypasses the framework.

    A framework's routing, guards and layers cost as much as holding and settling a call.
    """

    def __init__(self, gateway: request_handler.Gateway, format_: ServerFormat, fields: Json | None = None) -> None:
        self._gateway = gateway
        self._format = format_
        self._fields = fields or {}

    async def __call__(self, scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
        """Answer a call; errors are written in its format."""
        begun = False

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            check_scope(scope.get(CALLER), "send")
            body = (await receive()).get("body", b"")
            came = request_handler.GatewayRequest(scope[CALLER], scope[HEADERS], body, self._fields)
            serving = request_handler.gateway_of(scope, self._gateway)
            await request_handler.RequestHandler(serving, self._format, came)(scope, receive, noted)
        except ProblemError as error:
            fault = _fault_of(error.problem)
            await request_handler.send_json(send, fault.status, self._format.error(fault), [])
        except Exception as error:
            log_unexpected(error, scope)  # type: ignore[arg-type]
            if begun:
                raise  # in the middle of an answer only a closed connection can tell the client
            await request_handler.send_json(send, _UNEXPECTED.status, self._format.error(_UNEXPECTED), [])


def _counting(gateway: request_handler.Gateway, format_: ServerFormat, beside: Json) -> Any:
    @post(opt=needs("send"), include_in_schema=False, request_max_body_size=BOUNDS.body, status_code=200)
    async def count(request: Request[Any, Any, Any]) -> Response[Json]:
        """Count the input of a request, at no cost."""
        serving = request_handler.gateway_of(request.scope, gateway)
        try:
            asked = await serving.read(format_, caller_of(request), request_handler.parsed(await request.body()))
            return Response({**beside, "input_tokens": await serving.calls.input_count(asked.request)})
        except (FaultError, OrganismError) as error:
            fault = serving.fault(error)
        return Response(format_.error(fault), status_code=fault.status)

    return count


def _google(gateway: request_handler.Gateway) -> Router:
    def model(name: str) -> Json:
        does = [*_GOOGLE_DOES, "countTokens"]
        return {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": does}

    @get("/", opt=needs("send"), include_in_schema=False)
    async def list_models(request: Request[Any, Any, Any]) -> Json:
        """List the models that are offered."""
        serving = request_handler.gateway_of(request.scope, gateway)
        return {"models": [model(name) for name in serving.offered]}

    @get("/{name:path}", opt=needs("send"), include_in_schema=False)
    async def show_model(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Show one of them."""
        serving = request_handler.gateway_of(request.scope, gateway)
        name = name.removeprefix("/")
        if serving.offers(name):
            return Response(model(name))
        fault = unknown_model(name, serving.offered).fault
        return Response(_GOOGLE.error(fault), status_code=fault.status)

    @post("/{name:path}", opt=needs("send"), include_in_schema=False, request_max_body_size=BOUNDS.body)
    async def call(name: FromPath[str], request: Request[Any, Any, Any]) -> ASGIApp:
        """Carry out the verb after a model's name."""
        serving = request_handler.gateway_of(request.scope, gateway)
        model, _, verb = name.removeprefix("/").rpartition(":")
        try:
            if verb == "countTokens":
                raw = _counted_by_google(request_handler.parsed(await request.body())) | {"model": model}
                asked = await serving.read(_GOOGLE, caller_of(request), raw)
                return _json_app(200, {"totalTokens": await serving.calls.input_count(asked.request)})
            format_, fields = _done_by_google(verb, str(request.query_params.get("alt", "json")))
        except (FaultError, OrganismError) as error:
            fault = serving.fault(error)
            return _json_app(fault.status, _GOOGLE.error(fault))
        return _CallApp(serving, format_, {"model": model} | fields)  # type: ignore[return-value]

    return Router(
        GOOGLE, route_handlers=[list_models, show_model, call], exception_handlers=_exception_handlers(_GOOGLE.error)
    )


def _counted_by_google(body: Json) -> Json:
    """Return the request that ``countTokens`` counts; a complete one is in a field of its own.

    Raises:
        FaultError: If that field is not an object.
    """
    name = "generateContentRequest"
    whole = body.get(name) or {}
    if not isinstance(whole, dict):
        raise bad_request(f"{name}: it must be an object", name)
    return whole | {field: value for field, value in body.items() if field != name}


def _done_by_google(verb: str, alt: str) -> tuple[ServerFormat, Json]:
    """Return the format of a verb, and the fields that the path gives.

    Raises:
        FaultError: If the verb, or the form of its stream, is unknown.
    """
    if verb not in _GOOGLE_DOES:
        raise FaultError(_UNKNOWN_VERB)
    format_, fields = _GOOGLE_DOES[verb]
    if not fields.get("stream"):
        return format_, fields
    if alt not in STREAM_TYPES:
        raise bad_request(f"alt: a stream is {' or '.join(map(repr, STREAM_TYPES))}, not {alt[:20]!r}", "alt")
    return format_, fields | {"alt": alt}


def _json_app(status: int, body: Json) -> ASGIApp:
    async def app(_scope: ASGIScope, _receive: ASGIReceive, send: ASGISend) -> None:
        await request_handler.send_json(send, status, body, [])

    return app  # type: ignore[return-value]


def _models(gateway: request_handler.Gateway, created_s: int) -> Router:
    def model(name: str) -> Json:
        """Describe a model with the fields of OpenAI and of Anthropic, whose clients both ask here."""
        created_at = datetime.fromtimestamp(created_s, UTC).isoformat()
        openai = {"id": name, "object": "model", "created": created_s, "owned_by": "organism"}
        return openai | {"type": "model", "display_name": name, "created_at": created_at}

    @get("/", opt=needs("send"), include_in_schema=False)
    async def list_models(request: Request[Any, Any, Any]) -> Json:
        """List the models that are offered."""
        offered = request_handler.gateway_of(request.scope, gateway).offered
        first, last = (offered[0], offered[-1]) if offered else (None, None)
        page = {"has_more": False, "first_id": first, "last_id": last}
        return {"object": "list", "data": [model(name) for name in offered]} | page

    @get("/{name:path}", opt=needs("send"), include_in_schema=False)
    async def show_model(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Show one of them; names may have slashes in them."""
        serving, name = request_handler.gateway_of(request.scope, gateway), name.removeprefix("/")
        if not serving.offers(name):
            fault = unknown_model(name, serving.offered).fault
            return Response(error_body(fault), status_code=fault.status)
        return Response(model(name))

    return Router(
        "/v1/models", route_handlers=[list_models, show_model], exception_handlers=_exception_handlers(error_body)
    )


def _rule(
    path: str,
    write: Callable[[Fault], Json],
    known: Any,
    answers: _CallApp | None = None,
    *,
    methods: tuple[str, ...] = (),
) -> AccessRule:
    return AccessRule(path, known, _problem_writer(write), BOUNDS, answers, methods=methods)


def _problem_writer(write: Callable[[Fault], Json], instead: str = "") -> Callable[[Problem], tuple[bytes, str]]:
    """Return a function that writes a problem as an error of a format.

    Args:
        write: Writes an error of the format.
        instead: What to do instead, appended to the message.
    """

    def written(problem: Problem) -> tuple[bytes, str]:
        fault = _fault_of(problem)
        if instead:
            fault = msgspec.structs.replace(fault, message=f"{fault.message}: {instead}")
        return msgspec.json.encode(write(fault)), "application/json"

    return written


def _exception_handlers(write: Callable[[Fault], Json]) -> Handlers:
    """Return the handlers of errors that are raised outside the formats."""

    def respond(fault: Fault) -> Response[Json]:
        return Response(write(fault), status_code=fault.status, media_type="application/json")

    def http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[Json]:
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        problem = Problem(status=error.status_code, code=code, title="request refused", detail=error.detail)
        return respond(_fault_of(problem))

    def unexpected(_request: Request[Any, Any, Any], _error: Exception) -> Response[Json]:
        return respond(_UNEXPECTED)

    return {
        ProblemError: lambda _request, error: respond(_fault_of(error.problem)),
        HTTPException: http_error,
        Exception: unexpected,
    }


def _fault_of(problem: Problem) -> Fault:
    """Return a problem of the middleware or the framework as a fault."""
    kind = _KINDS.get(problem.status, "request" if problem.status < 500 else "unavailable")  # noqa: PLR2004
    code = "invalid_api_key" if problem.status == 401 else problem.code  # noqa: PLR2004
    message = "no valid key" if problem.status == 401 else f"{problem.title}: {problem.detail}"  # noqa: PLR2004
    return Fault(status=problem.status, kind=kind, code=code, message=message, request_id=problem.request_id)
