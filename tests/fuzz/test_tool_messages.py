"""What MCP servers write, broken and cut: no line ends a connection, and every answer ends its call."""

import random

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.tool_messages import faults_of, some_lines

pytestmark = pytest.mark.anyio


async def test_lines_of_a_server_are_understood_or_passed_over(pytestconfig: pytest.Config) -> None:
    """However lines are broken and split, they are read alike; an answer that cannot be read says so to its call."""

    async def one(chance: random.Random) -> list[str]:
        raw = some_lines(chance)
        return [f"{fault}\n{raw[:3000]!r}" for fault in faults_of(raw, chance)]

    outcome = await campaign("tools", one, pytestconfig.getoption("seed"), pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
