"""What nodes pass on to each other, as nobody of the cluster has signed it: never let in, and never a crash."""

import random

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.forwarded_headers import faults_of

pytestmark = pytest.mark.anyio


async def test_only_what_a_node_has_signed_is_let_in_and_once(pytestconfig: pytest.Config) -> None:
    """Forged, changed, replayed, cut, huge or of another version: refused, and the right one is let in after it."""

    async def one(chance: random.Random) -> list[str]:
        return list(faults_of(chance))

    outcome = await campaign("forwarded", one, pytestconfig.getoption("seed"), 5 * pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
