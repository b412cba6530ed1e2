"""What the OpenAPI document says beside what handlers say: every error an operation answers, and every parameter. Pure.

One table for the document that the daemon serves and for the pages of the reference.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from inspect import getdoc
from typing import Any, get_args, get_type_hints

import msgspec

from organism.api.problems import ERROR_STATUS, MEDIA_TYPE, Problem
from organism.billing.reports.report_formats import MEDIA_TYPES

Document = dict[str, Any]
"""An OpenAPI document, or a part of it."""

PARAMETERS = {
    "account": "The account: a plain thread id, or a name such as organism@day:2026-11-24, as budgets lists them.",
    "after": "Begin behind the one of this number or id.",
    "agent": "The agent's name.",
    "approval_id": "The question's id, as approvals lists it.",
    "by": "What is summed up by itself.",
    "content": "Whether to tell what was said too, to callers with the scope operate.",
    "exporter": "The exporter's name in the configuration.",
    "label": "Only threads with this label, as name=value; several must all be there.",
    "limit": "At most so many.",
    "message_id": "The letter's id, as dead-letters lists it.",
    "name": "The token's name.",
    "reason": "Why, for those who read it later.",
    "thread": "Only this thread and its descendants.",
    "thread_id": "The thread's id.",
    "traceparent": "The span that this belongs to, after W3C's trace context.",
    "type": "Only events of this kind.",
    "wait_seconds": "Wait so long for the first if there is none yet.",
}
"""What a parameter means wherever a route does not say more."""


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An error answer.

    Attributes:
        status: Its HTTP status.
        code: What it is called, for programs.
        when: When it comes.
    """

    status: int
    code: str
    when: str


_PLAIN = (
    ErrorAnswer(400, "bad_id", "there can be no event of that id"),
    ErrorAnswer(400, "bad_key", "the idempotency key is empty, too long or not printable"),
    ErrorAnswer(400, "http_error", "a parameter or the body does not fit its type"),
    ErrorAnswer(400, "invalid_request", "what is asked for cannot be done as it is written"),
    ErrorAnswer(400, "not_http", "what came is no request"),
    ErrorAnswer(400, "not_text", "the body is not UTF-8"),
    ErrorAnswer(400, "too_deep", "the body is nested too deep"),
    ErrorAnswer(401, "unauthorized", "there is no token, or it is not known, or it has ended"),
    ErrorAnswer(403, "cross_site", "a page of another site asks"),
    ErrorAnswer(403, "scope_missing", "the token lacks the scope of the route"),
    ErrorAnswer(404, "no_such_route", "there is no such path"),
    ErrorAnswer(404, "unknown_exporter", "there is no exporter of that name"),
    ErrorAnswer(404, "unknown_thread", "events of a thread that never was"),
    ErrorAnswer(404, "unknown_token", "there is no token of that name that can be changed here"),
    ErrorAnswer(405, "method_not_allowed", "the path is there, with another method"),
    ErrorAnswer(408, "too_slow", "the body does not come in time"),
    ErrorAnswer(413, "no_body_here", "the route takes no body, and there is one"),
    ErrorAnswer(413, "too_large", "the body is larger than is taken"),
    ErrorAnswer(413, "too_many_values", "the body holds more values than are read"),
    ErrorAnswer(415, "not_json", "the body is not sent as JSON"),
    ErrorAnswer(415, "unreadable_encoding", "the body is sent in an encoding that is not read"),
    ErrorAnswer(421, "wrong_host", "the request means another host"),
    ErrorAnswer(422, "unknown_event_type", "events of a kind that is not there"),
    ErrorAnswer(422, "unknown_parameter", "the query has a parameter that the route does not have"),
    ErrorAnswer(429, "too_many_failures", "too many bad tokens came from this address"),
    ErrorAnswer(429, "too_many_followers", "so many follow events already that no more may"),
    ErrorAnswer(431, "head_too_large", "the headers are larger than is taken"),
    ErrorAnswer(500, "internal_error", "a mistake in organism; the log has more under the `request_id`"),
    ErrorAnswer(503, "too_many_connections", "all connections are taken"),
)
_RAISED = tuple(
    ErrorAnswer(status, code, " ".join((kind.__doc__ or "").partition("\n\n")[0].split()))
    for kind, (status, code) in ERROR_STATUS.items()
)
ERROR_ANSWERS = tuple(sorted((*_PLAIN, *_RAISED), key=lambda answer: (answer.status, answer.code)))
"""Every error answer there is."""

_ALWAYS = ("cross_site", "wrong_host", "head_too_large", "internal_error", "too_many_connections")
_WITH_TOKEN = ("unauthorized", "scope_missing", "too_many_failures", "unknown_parameter", "tokens_unavailable")
_WITH_BODY = (
    "http_error", "invalid_request", "too_slow", "too_large", "too_many_values", "too_deep", "not_json", "not_text",
    "unreadable_encoding",
)  # fmt: skip
_OF_ORDERS = ("bad_key", "invalid_request", "key_reused", "stopping", "journal_unavailable")
_OF_PARAMETERS = {
    "thread_id": ("thread_not_open",),
    "account": ("unknown_account",),
    "agent": ("unknown_recipient",),
    "message_id": ("unknown_letter",),
    "approval_id": ("unknown_approval", "approval_answered"),
    "thread": ("unknown_thread",),
    "type": ("unknown_event_type", "events_gone", "too_many_followers"),
    "name": ("unknown_token",),
    "exporter": ("unknown_exporter",),
    "after": ("bad_id",),
}
_OF_MESSAGES = ("unknown_recipient", "reserved_message", "bound_exceeded", "mailbox_full")
_SENDS = ("/v1/threads", "/v1/threads/{thread_id}/messages")


_FORMS: dict[str, Document] = {
    "/v1/usage/report": {
        kind.partition(";")[0]: {"schema": {"type": "object" if form == "json" else "string"}}
        for form, kind in MEDIA_TYPES.items()
    }
}
"""What is answered in several forms."""


def error_answers(method: str, path: str, operation: Document) -> tuple[ErrorAnswer, ...]:
    """Return the errors that an operation answers.

    Args:
        method: Its method, in small letters.
        path: Its path.
        operation: The operation as the document has it.
    """
    codes = {*_ALWAYS, *(_WITH_TOKEN if path.startswith("/v1/") else ())}
    parameters = [each["name"] for each in operation.get("parameters", ()) if each["in"] != "header"]
    if parameters:
        codes |= {"http_error", "invalid_request"}
    codes |= set(_WITH_BODY) if "requestBody" in operation else {"no_body_here"}
    if method != "get":
        codes |= set(_OF_ORDERS)
    if method == "post" and path in _SENDS:
        codes |= set(_OF_MESSAGES)
    if method != "get" and path.startswith("/v1/tokens"):
        codes |= {"older_nodes"}
    for name in parameters:
        codes |= set(_OF_PARAMETERS.get(name, ()))
    return tuple(answer for answer in ERROR_ANSWERS if answer.code in codes)


def meanings_of(spoken: Iterable[Any]) -> Mapping[str, Mapping[str, str]]:
    """Return what the fields of structs mean, by the struct's name: what their docstrings say.

    Args:
        spoken: Types of bodies and answers; the structs within them are found too.
    """
    found: dict[type[msgspec.Struct], None] = {}
    waiting = list(spoken)
    for kind in waiting:
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            waiting += get_args(kind)
        elif kind not in found:
            found[kind] = None
            waiting += get_type_hints(kind).values()
    return {kind.__name__: _meanings(kind) for kind in found}


def _meanings(kind: type[msgspec.Struct]) -> dict[str, str]:
    meanings: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        _, _, attributes = (getdoc(parent) or "").partition("\nAttributes:\n")
        for name, text in _ATTRIBUTE.findall(attributes):
            meanings[name] = " ".join(text.split()).replace("``None``", "``null``")
    return meanings


_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8,}.*)*)", re.MULTILINE)


def completed(
    document: Document, scopes: Mapping[tuple[str, str], str], meanings: Mapping[str, Mapping[str, str]]
) -> Document:
    """Return an OpenAPI document with the errors and the scope of each operation, and with what each parameter means.

    Args:
        document: The document as the framework makes it.
        scopes: What a caller must be allowed to do, by path and method in small letters; ``none`` for nothing.
        meanings: What the fields of bodies and answers mean, by the names of both.
    """
    paths = {
        path: {
            method: {**_completed(method, path, operation), "x-scope": scopes.get((path, method), "none")}
            for method, operation in operations.items()
        }
        for path, operations in document["paths"].items()
    }
    components = document.get("components", {})
    _, schemas = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")
    schemas = {
        name: _explained(schema, meanings.get(name, {})) for name, schema in components.get("schemas", {}).items()
    } | schemas
    return {**document, "paths": paths, "components": {**components, "schemas": schemas}}


def _completed(method: str, path: str, operation: Document) -> Document:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = {status: answer for status, answer in operation["responses"].items() if not status.startswith("4")}
    if path in _FORMS:
        responses["200"] = {**responses["200"], "content": _FORMS[path]}
    responses |= {
        status: {"description": description, "content": content}
        for status, description in _by_status(error_answers(method, path, operation))
    }
    found = {**operation, "responses": responses}
    if "parameters" in operation:
        found["parameters"] = [
            {**each, "description": each.get("description") or PARAMETERS.get(each["name"], "")}
            for each in operation["parameters"]
        ]
    return found


def _explained(schema: Document, meanings: Mapping[str, str]) -> Document:
    """Return a schema with what its fields mean; one that is only a reference has no place for it."""
    properties = {
        name: {**field, "description": field.get("description") or meanings[name]}
        if name in meanings and "$ref" not in field
        else field
        for name, field in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema


def _by_status(answers: tuple[ErrorAnswer, ...]) -> Iterator[tuple[str, str]]:
    for status in sorted({answer.status for answer in answers}):
        yield str(status), "; ".join(f"{each.code}: {each.when}" for each in answers if each.status == status)
