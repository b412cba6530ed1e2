"""Logs which fields of requests were ignored: once for each client and field."""

from organism.concurrency.safe_log import safe_logger
from organism.formats.server_format import Json, ServerFormat

SAID_MAX = 1_000
"""The most log lines: clients choose the names of fields, so there could be any number."""

_NAME_MAX = 64
_log = safe_logger("organism.gateway")


class PassedOver:
    """Logs ignored fields, and remembers which it has logged."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def note(self, format_: ServerFormat, client: str, body: Json) -> None:
        """Log the fields of a request that its format does not read.

        Args:
            format_: The request's format.
            client: The caller's name.
            body: The request.
        """
        if not format_.known_fields or format_.known_fields.issuperset(body):
            return
        for name in body.keys() - format_.known_fields:
            said = (client, name[:_NAME_MAX])
            if said not in self._said and len(self._said) < SAID_MAX:
                self._said.add(said)
                _log.info("field_passed_over", client=client, field=said[1])
