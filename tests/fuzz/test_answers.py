"""Answers of providers that nobody would send: none ends a reader, and none is charged less than it has said."""

import random

import pytest

from tests.fuzz.answer_checks import faults_of
from tests.fuzz.answer_streams import DRAFTED, pieces, some_answer
from tests.fuzz.campaign import campaign

pytestmark = pytest.mark.anyio


async def check(name: str, chance: random.Random) -> list[str]:
    """Return what is wrong with how one answer is read."""
    answer = some_answer(name, chance)
    return [f"{fault}\n  {answer.raw[:6000]!r}" for fault in faults_of(answer, pieces(answer.raw, chance))]


@pytest.mark.parametrize("name", DRAFTED)
async def test_answer_in_any_disorder_is_read_charged_and_written(name: str, pytestconfig: pytest.Config) -> None:
    """Lost, repeated, crossed, broken and cut: an answer is read alike however it is split, and never for free.

    What is read can be written to clients of every format, in one piece and in many, and is the same answer there.
    """

    async def one(chance: random.Random) -> list[str]:
        return await check(name, chance)

    outcome = await campaign(name, one, pytestconfig.getoption("seed"), pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
