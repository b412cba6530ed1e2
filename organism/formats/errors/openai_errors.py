"""Writes errors as OpenAI's clients expect them, in all of its formats. Pure."""

import msgspec

from organism.formats.errors.faults import Fault, FaultKind

_TYPES: dict[FaultKind, str] = {
    "request": "invalid_request_error",
    "key": "invalid_request_error",
    "permission": "permission_error",
    "not_found": "invalid_request_error",
    "too_large": "invalid_request_error",
    # LiteLLM, and what is built on it, tries again for a minute after a 402 of any other type; the code tells it apart.
    "budget": "invalid_request_error",
    "rate": "rate_limit_error",
    "upstream": "upstream_error",
    "unavailable": "server_error",
}


def error_body(fault: Fault) -> dict[str, object]:
    """Write an error; fields of organism's own are under ``organism``."""
    error: dict[str, object] = {
        "message": fault.message,
        "type": _TYPES[fault.kind],
        "code": fault.code,
        "param": fault.param,
    }
    if fault.refusal is not None:
        error["organism"] = msgspec.to_builtins(fault.refusal)
    return {"error": error}
