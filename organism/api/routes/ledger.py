"""The ledger's entries, for audits and billing."""

from typing import Annotated

from litestar import get
from litestar.params import FromQuery, QueryParameter

from organism.api.dependencies import ControlOf
from organism.api.scopes import needs
from organism.journal import StoredEntry


@get("/v1/ledger/entries", opt=needs("read"))
async def read_entries(
    control: ControlOf,
    after: FromQuery[int] = 0,
    limit: Annotated[int, QueryParameter(name="limit", ge=1, le=10_000)] = 1000,
) -> list[StoredEntry]:
    """Read entries as they are stored, those with numbers above ``after``; an empty page is the end.

    A hash is SHA-256 over the hash of the entry before it and the entry's own JSON, and written in base64.
    """
    return await control.queries.entries(after, limit)


ROUTES = (read_entries,)
