"""Exporters over real HTTP."""

import pytest

from organism.usage.cursors import SetAside
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio


async def test_exporter_that_is_none_is_an_error(served: Served) -> None:
    """A misspelt name is not answered as if its events had been offered again."""
    async with served() as (organism, client):
        unknown = await client.post("/v1/exporters/bils/retry")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_exporter")
        assert "'bils'" in unknown.json()["detail"]
        aside = SetAside(exporter="bills", event_id="7", reason="answered 400", time_ns=1)
        await organism.control.cursors.keep("bills", "7", [aside])
        known = await client.post("/v1/exporters/bills/retry")
        assert (known.status_code, known.json()["changed"]) == (202, ["7"])
