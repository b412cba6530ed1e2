"""How the dashboard's files are given out: compressed for those who take it, all scripts asked for at once."""

import gzip
import re

import pytest

from organism.api.routes.pages import DASHBOARD
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, deflate, br", True), ("br;q=1.0, GZIP;q=0.5", True), ("gzip;q=0, *", False), ("br", False), ("", False)],
)
async def test_files_come_compressed_where_that_is_taken(served: Served, accepted: str, packed: bool) -> None:
    """The same page either way, and caches are told that it depends; all of it is far below 200 kB on its way."""
    async with served() as (_, client):
        sizes = 0
        for path in sorted(path for rule in DASHBOARD.rules for path in [rule.paths]):
            plain = await client.get(path, headers={"accept-encoding": "identity"})
            async with client.stream("GET", path, headers={"accept-encoding": accepted}) as answer:
                raw = b"".join([part async for part in answer.aiter_raw()])
            assert ("content-encoding" in answer.headers) == packed
            assert answer.headers["vary"] == "Accept-Encoding"
            assert (gzip.decompress(raw) if packed else raw) == plain.content
            sizes += len(raw)
        assert not packed or sizes < 80_000


async def test_every_script_is_asked_for_with_the_page(served: Served) -> None:
    """No script waits until the one that imports it was read."""
    async with served() as (_, client):
        page = (await client.get("/")).text
    scripts = {rule.paths for rule in DASHBOARD.rules if str(rule.paths).endswith(".js")}
    assert set(re.findall(r'<link rel="modulepreload" href="([^"]+)">', page)) == scripts
