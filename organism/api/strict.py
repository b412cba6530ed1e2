"""Numbers in requests are numbers as JSON writes them: no text that holds one, no fraction for a whole one.

The framework converts bodies and queries with every leniency there is, so that ``"5"``, ``5.0`` and ``5e0`` all become
5. A limit that was written wrongly is money that was not meant, so it is refused here, before the framework sees it.
"""

import re
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler

_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})")


async def strict(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a request whose numbers are none: a guard of every route.

    Raises:
        ValidationException: If a body or a query does not fit its type as it is written.
    """
    # The framework gives each guard a copy of the handler that it makes for this request: no key for a cache.
    _check_query(connection, _scalars(connection.route_handler))
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


def _check_query(connection: ASGIConnection[Any, Any, Any, Any], scalars: dict[str, type]) -> None:
    given = parse_qsl(connection.scope["query_string"].decode("latin-1"), keep_blank_values=True)
    for name, value in given:
        if scalars.get(name) is int and not _WHOLE.fullmatch(value):
            raise _misfit(name, "write a whole number, such as 100")
    names = [name for name, _ in given if name in scalars]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise _misfit(twice, "give it once")


def _misfit(name: str, message: str) -> ValidationException:
    return ValidationException(detail="the query does not fit", extra=[{"key": name, "message": message}])


@cache
def _scalars(handler: BaseRouteHandler) -> dict[str, type]:
    """Return the numbers and truths that a route takes in its query, by name."""
    fields = dict(handler.parsed_fn_signature.parameters)
    for provider in handler.resolve_dependencies().values():
        fields |= provider.parsed_fn_signature.parameters
    return {name: field.annotation for name, field in fields.items() if field.annotation in (int, bool)}
