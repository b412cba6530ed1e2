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


MISSPELT = [
    "/v1/threads?stat=open",
    "/v1/threads?state=open&limits=5",
    "/v1/threads/any?contents=true",
    "/v1/budgets?account=x",
    "/v1/usage?bye=agent",
    "/v1/freeze?labels=a",
    "/v1/status?x",
]


async def test_misspelt_parameter_is_refused_by_name(served: Served) -> None:
    """A filter whose name is misspelt would answer more than was asked for, so it is refused by name."""
    async with served() as (_, client):
        for path in MISSPELT:
            answer = await client.get(path)
            assert answer.status_code == 422, path
            assert answer.json()["code"] == "unknown_parameter", path
            assert "is no parameter of this route" in answer.json()["detail"], path


async def test_other_protocols_take_what_their_clients_send(served: Served) -> None:
    """What programs of the gateway and health checks add to a query means nothing here and stops nobody."""
    async with served() as (_, client):
        assert (await client.get("/v1/models?beta=true")).status_code == 200
        assert (await client.get("/healthz?probe=1")).status_code == 200
