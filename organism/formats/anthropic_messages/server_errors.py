"""Writes errors as Anthropic's clients expect them. Pure."""

import msgspec

from organism.formats.errors.faults import Fault, FaultKind

_TYPES: dict[FaultKind, str] = {
    "request": "invalid_request_error",
    "key": "authentication_error",
    "permission": "permission_error",
    "not_found": "not_found_error",
    "too_large": "request_too_large",
    "budget": "billing_error",
    "rate": "rate_limit_error",
    "upstream": "api_error",
    "unavailable": "overloaded_error",
}

THREADS_UNSUPPORTED = "thread_unsupported_request"
"""Anthropic's code for a server that keeps no conversations; its clients then send all of it each time."""


def error_body(fault: Fault) -> dict[str, object]:
    """Write an error; fields of organism's own are under ``organism``."""
    organism: dict[str, object] = {"code": fault.code}
    if fault.param is not None:
        organism["param"] = fault.param
    if fault.refusal is not None:
        organism |= msgspec.to_builtins(fault.refusal)
    error: dict[str, object] = {"type": _TYPES[fault.kind], "message": fault.message, "organism": organism}
    if fault.code == THREADS_UNSUPPORTED:
        error["details"] = {"error_code": fault.code, "unsupported": []}
    return {"type": "error", "error": error, "request_id": fault.request_id or None}
