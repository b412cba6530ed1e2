"""Requests of clients that nobody would write: refused by name, or passed on as JSON in every provider's format."""

import random

import pytest

from organism.gateway.request_handler import parsed
from tests.fuzz.campaign import campaign
from tests.fuzz.client_bodies import GOOD, READERS, Wrong, faults_of, some_body
from tests.fuzz.junk import encoded

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("path", GOOD)
async def test_request_is_refused_by_name_or_passed_on(path: str, pytestconfig: pytest.Config) -> None:
    """Whatever is wrong with a request of any format, it is a 4xx in words, or JSON that any provider can read."""
    READERS[path].read(parsed(encoded(GOOD[path])), 100)  # what is broken below was right before

    async def one(chance: random.Random) -> list[str]:
        wrong: Wrong = some_body(path, chance)
        return [f"{fault}\n{wrong.raw[:3000]!r}" for fault in faults_of(wrong)]

    outcome = await campaign(path, one, pytestconfig.getoption("seed"), pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
