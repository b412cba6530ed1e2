"""Requests at every path, with whatever stands in their headers: an answer with a shape, for those who may."""

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.http_requests import served

pytestmark = pytest.mark.anyio


async def test_request_is_answered_in_its_shape_and_only_for_who_may(pytestconfig: pytest.Config) -> None:
    """Any header, cookie, name and body at any path: never a 5xx, no secret, nothing for strangers, nothing held."""
    async with served() as check:
        outcome = await campaign("http", check, pytestconfig.getoption("seed"), 3 * pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
