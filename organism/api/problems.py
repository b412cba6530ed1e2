"""The one shape of every error answer, and which error becomes which."""

import traceback
from collections.abc import Callable
from typing import Any, cast

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Scope

from organism.api.tokens.token_errors import OlderNodesError, TokensAwayError
from organism.control.idempotency import AlreadyDoneError, KeyReusedError, UnknownLetterError
from organism.errors import (
    BoundExceededError,
    MailboxFullError,
    OrganismError,
    ReservedMessageError,
    StoppedError,
    ThreadClosedError,
    UnknownAccountError,
    UnknownRecipientError,
)
from organism.journal import JournalError
from organism.text.error_text import cleaned
from organism.threads.approvals import ApprovalAnsweredError, UnknownApprovalError
from organism.usage.event_log import EventsGoneError

SAY = "organism.say"
"""Where the application finds in its scope how a refusal is said at a path."""

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger("organism.api")


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error answer, after RFC 9457.

    Attributes:
        status: The HTTP status again.
        code: What went wrong, for programs: stable, in snake case.
        title: What went wrong, for people.
        detail: What to do about it.
        request_id: Names the request in the daemon's log.
        mistakes: Each mistake by itself, where a configuration has several.
    """

    status: int
    code: str
    title: str
    detail: str
    request_id: str = ""
    mistakes: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


def no_such_path(path: str) -> Problem:
    """Say that nothing is served at a path."""
    return Problem(status=404, code="no_such_route", title="no such path", detail=f"nothing is served at {path[:100]}")


def wrong_method(methods: tuple[str, ...]) -> Problem:
    """Say which methods there are where another was asked for."""
    detail = f"there is only {' and '.join(methods)} here"
    return Problem(status=405, code="method_not_allowed", title="no such method", detail=detail)


def headers_beside(status: int, methods: tuple[str, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Return what headers say beside a refusal of the gate.

    A key that has been revoked is not asked with again: Claude Code would for minutes, and be locked out meanwhile.

    Args:
        status: The refusal's.
        methods: All that there are at its path.
    """
    said = {
        401: ((b"www-authenticate", b"Bearer"), (b"x-should-retry", b"false")),
        405: ((b"allow", ", ".join(methods).encode()),),
        408: ((b"connection", b"close"),),
        413: ((b"connection", b"close"),),
        429: ((b"retry-after", b"60"), (b"x-should-retry", b"false")),
        503: ((b"retry-after", b"3"),),
    }
    return said.get(status, ())


class ProblemError(Exception):
    """A route's own "no"."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


ERROR_STATUS: dict[type[OrganismError], tuple[int, str]] = {
    ThreadClosedError: (404, "thread_not_open"),
    UnknownAccountError: (404, "unknown_account"),
    UnknownRecipientError: (404, "unknown_recipient"),
    UnknownLetterError: (404, "unknown_letter"),
    ApprovalAnsweredError: (409, "approval_answered"),
    UnknownApprovalError: (404, "unknown_approval"),
    EventsGoneError: (410, "events_gone"),
    ReservedMessageError: (403, "reserved_message"),
    MailboxFullError: (429, "mailbox_full"),
    BoundExceededError: (413, "bound_exceeded"),
    KeyReusedError: (422, "key_reused"),
    StoppedError: (503, "stopping"),
    JournalError: (503, "journal_unavailable"),
    TokensAwayError: (503, "tokens_unavailable"),
    OlderNodesError: (409, "older_nodes"),
}
"""Everything else that organism raises on purpose is a mistake in the request: 400."""


def respond(problem: Problem, request: Request[Any, Any, Any]) -> Response[Problem]:
    """Answer with a problem."""
    request_id = request.scope.get("organism.request_id", "")
    named = msgspec.structs.replace(problem, detail=cleaned(problem.detail), request_id=request_id)
    return Response(named, status_code=problem.status, media_type=MEDIA_TYPE)


def say_problem(request: Request[Any, Any, Any], error: ProblemError) -> Response[Problem]:
    """Answer with what a route has said."""
    return respond(error.problem, request)


def say_organism_error(request: Request[Any, Any, Any], error: OrganismError) -> Response[Any]:
    """Answer with an error of the organism, or with the first answer to an order that was given again."""
    if isinstance(error, AlreadyDoneError):
        status = getattr(request.route_handler, "status_code", None) or 200
        headers = {"idempotency-replayed": "true"}
        return Response(error.answer.encode(), status_code=status, media_type="application/json", headers=headers)
    status, code = next(
        (answer for kind, answer in ERROR_STATUS.items() if isinstance(error, kind)), (400, "invalid_request")
    )
    mistakes = tuple(map(cleaned, error.sentences)) if len(error.sentences) > 1 else msgspec.UNSET
    problem = Problem(status=status, code=code, title=type(error).__name__, detail=str(error), mistakes=mistakes)
    return respond(problem, request)


def say_unreadable(request: Request[Any, Any, Any], _error: UnicodeDecodeError) -> Response[Problem]:
    """Answer a body that is no text: the JSON decoder passes that error on as it is."""
    problem = Problem(status=400, code="not_text", title="request refused", detail="send JSON in UTF-8")
    return respond(problem, request)


def log_unexpected(error: Exception, scope: Scope) -> None:
    """Log an unexpected error under the id in the response; its text may hold content of a conversation."""
    if isinstance(error, HTTPException | OrganismError | ProblemError | UnicodeDecodeError):
        return
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
    request_id = scope.get("organism.request_id", "")
    _log.error("request_failed", path=scope["path"], request_id=request_id, error=type(error).__name__, where=where)


def say_unexpected(request: Request[Any, Any, Any], _error: Exception) -> Response[Problem]:
    """Answer what nobody has thought of: without its text, which may hold what somebody has said."""
    detail = "the daemon's log has more under this request_id"
    return respond(
        Problem(status=500, code="internal_error", title="something went wrong here", detail=detail), request
    )


def say_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer with an error of the framework: no such route, no such method, a body that does not fit.

    It comes about before a route is found, so that it is the path alone that tells in which words.
    """
    extra = error.extra if isinstance(error.extra, list) else []
    faults = "; ".join(
        f"{fault.get('key', '')}: {fault.get('message', '')}".strip(": ") for fault in extra if isinstance(fault, dict)
    )
    code = {404: "no_such_route", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "http_error")
    detail = faults or error.detail
    said = respond(Problem(status=error.status_code, code=code, title="request refused", detail=detail), request)
    say: Callable[[Problem], tuple[bytes, str]] | None = cast("Any", request.scope).get(SAY)
    if say is None:
        return said
    body, media_type = say(said.content)
    return Response(body, status_code=error.status_code, media_type=media_type)
