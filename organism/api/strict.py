"""Numbers in requests are numbers as JSON writes them: no text that holds one, no fraction for a whole one.

The framework converts bodies and queries with every leniency there is, so that ``"5"``, ``5.0`` and ``5e0`` all become
5. A limit that was written wrongly is money that was not meant, so it is refused here, before the framework sees it.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.typing import FieldDefinition

from organism.api.problems import Problem, ProblemError
from organism.api.scopes import OPEN

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")


async def strict(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a request whose numbers are none, or that asks for what its route does not know: a guard of every route.

    Raises:
        ValidationException: If a body or a query does not fit its type as it is written.
        ProblemError: If a query has a parameter that the route does not have,
            unless it is a health check or speaks another protocol.
    """
    # The framework gives each guard a copy of the handler that it makes for this request: no key for a cache.
    route = connection.route_handler
    given = parse_qsl(connection.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if getattr(handler, "include_in_schema", True) is not False and handler.opt.get("scope") != OPEN["scope"]:
        _check_names(given, _names(route))
    _check_query(given, _scalars(route), _names(route, single=True))
    field = handler.parsed_data_field
    if field is None or not isinstance(connection, Request):
        return
    try:
        msgspec.json.decode(await connection.body(), type=field.annotation, strict=True)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        fault = {"key": place.rstrip("`"), "message": reason}
        raise ValidationException(detail="the body does not fit", extra=[fault]) from None
    except msgspec.DecodeError as error:
        raise ValidationException(detail=f"the body is no JSON: {error}") from None


def _check_names(given: list[tuple[str, str]], known: frozenset[str]) -> None:
    """Refuse a filter that is misspelt: without it the answer would be about more than was asked for."""
    unknown = next((name for name, _ in given if name not in known), None)
    if unknown is None:
        return
    there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
    detail = f"{unknown[:80]!r} is no parameter of this route; {there}"
    raise ProblemError(Problem(status=422, code="unknown_parameter", title="the query does not fit", detail=detail))


def _check_query(given: list[tuple[str, str]], scalars: dict[str, type], single: frozenset[str]) -> None:
    for name, value in given:
        if scalars.get(name) is int and not _WHOLE.fullmatch(value):
            raise _misfit(name, "write a whole number, such as 100")
    names = [name for name, _ in given if name in single]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _misfit(twice, "give it once")


def _misfit(name: str, message: str) -> ValidationException:
    return ValidationException(detail="the query does not fit", extra=[{"key": name, "message": message}])


@cache
def _scalars(handler: BaseRouteHandler) -> dict[str, type]:
    """Return the numbers and truths that a route takes in its query, by name."""
    return {name: field.annotation for name, field in _fields(handler) if field.annotation in (int, bool)}


@cache
def _names(handler: BaseRouteHandler, *, single: bool = False) -> frozenset[str]:
    """Return the names of all that a route takes in its query, or of what it takes once only."""
    return frozenset(
        name
        for name, field in _fields(handler)
        if isinstance(field.kwarg_definition, QueryParameter) and not (single and _is_list(field))
    )


def _is_list(field: FieldDefinition) -> bool:
    return field.is_non_string_sequence or any(map(_is_list, field.inner_types))


def _fields(handler: BaseRouteHandler) -> Iterator[tuple[str, FieldDefinition]]:
    """Yield what a route and what it depends on take, by its name in a request."""
    fields = list(handler.parsed_fn_signature.parameters.items())
    for provider in handler.resolve_dependencies().values():
        fields += provider.parsed_fn_signature.parameters.items()
    for name, field in fields:
        yield getattr(field.kwarg_definition, "name", None) or name, field
