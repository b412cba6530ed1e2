"""Numbers of requests are checked for each, and nothing of a request is kept."""

import pytest

from organism.api import strict
from tests.api.conftest import Served

pytestmark = pytest.mark.anyio


async def test_checking_requests_keeps_nothing_of_them(served: Served) -> None:
    """What is remembered to check queries grows with the routes there are, and not with the requests that come."""
    async with served() as (_, client):
        await client.get("/v1/threads", params={"limit": 1})
        before = strict._scalars.cache_info().currsize
        for _ in range(20):
            assert (await client.get("/v1/threads", params={"limit": 1})).status_code == 200
    assert strict._scalars.cache_info().currsize == before
