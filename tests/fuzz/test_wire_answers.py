"""HTTP and event streams of providers, broken: read alike however they are split, or refused in the house's words."""

import random
from collections.abc import Callable, Iterator

import pytest

from tests.fuzz import wire_answers
from tests.fuzz.answer_streams import some_answer
from tests.fuzz.campaign import campaign

pytestmark = pytest.mark.anyio


def responses(chance: random.Random) -> Iterator[str]:
    return wire_answers.response_faults(wire_answers.some_response(chance), chance)


def events(chance: random.Random) -> Iterator[str]:
    return wire_answers.event_faults(some_answer(chance.choice(("chat", "messages")), chance).raw[:6000], chance)


def errors(chance: random.Random) -> Iterator[str]:
    return wire_answers.error_faults(*wire_answers.some_error(chance))


@pytest.mark.parametrize("kind", [responses, events, errors, wire_answers.image_faults], ids=lambda kind: kind.__name__)
async def test_wire_is_read_alike_however_it_is_broken_and_split(
    kind: Callable[[random.Random], Iterator[str]], pytestconfig: pytest.Config
) -> None:
    """Heads, lengths, pieces, events, errors and pictures: what comes of them depends on their bytes alone."""

    async def one(chance: random.Random) -> list[str]:
        return list(kind(chance))

    outcome = await campaign(kind.__name__, one, pytestconfig.getoption("seed"), pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
