"""Says in the log which fields of requests were passed over: once for each client and field, not with each call."""

import structlog

from organism.formats.server_format import Json, ServerFormat

SAID_MAX = 1_000
"""After so many nothing more is said: names of fields are a client's own words."""

_NAME_MAX = 64
_log = structlog.get_logger("organism.gateway")


class PassedOver:
    """Remembers what was said."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def note(self, format_: ServerFormat, client: str, body: Json) -> None:
        """Say which fields of a request nobody has read.

        Args:
            format_: Its format.
            client: Whose key it came with.
            body: The request.
        """
        if not format_.known_fields or format_.known_fields.issuperset(body):
            return
        for name in body.keys() - format_.known_fields:
            said = (client, name[:_NAME_MAX])
            if said not in self._said and len(self._said) < SAID_MAX:
                self._said.add(said)
                _log.info("field_passed_over", client=client, field=said[1])
