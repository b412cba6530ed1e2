"""Calls of tools are told apart, and given ids of their own, however a server marks them."""

# ruff: noqa: E501 - pieces on a line each are a table

import json
from typing import Any

import pytest

from organism.formats.tool_calls import HELD_BACK, ToolCallCollector, ToolCallPiece

OSLO, ROME = '{"city": "Oslo"}', '{"city": "Rome"}'


def collected(events: list[list[ToolCallPiece]], **options: Any) -> list[tuple[str, str, str]]:
    calls = ToolCallCollector({"weather", "moon"}, **options)
    shown: dict[int, str] = {}
    for pieces in events:
        for delta in calls.add(pieces):
            shown[delta.place] = shown.get(delta.place, "") + delta.arguments
    finished = calls.finished()
    assert all(finished[place].arguments.startswith(text) for place, text in shown.items())
    return [(call.id, call.name, call.arguments) for call in finished]


TWO = [("a", "weather", OSLO), ("b", "weather", ROME)]


ONE_NAME = [
    pytest.param([ToolCallPiece(name="moon"), ToolCallPiece(arguments='{"n": 1}'), ToolCallPiece(name="moon"), ToolCallPiece(arguments='{"n": 2}')], id="no index, no ids"),
    pytest.param([ToolCallPiece(place=0, name="moon", arguments=""), ToolCallPiece(place=0, arguments='{"n": 1}'), ToolCallPiece(place=0, name="moon", arguments=""), ToolCallPiece(place=0, arguments='{"n"'), ToolCallPiece(place=0, arguments=": 2}")], id="index always 0, in pieces"),
    pytest.param([ToolCallPiece(id="x", name="moon"), ToolCallPiece(id="x", arguments='{"n": 1}'), ToolCallPiece(id="x", name="moon"), ToolCallPiece(id="x", arguments='{"n": 2}')], id="one id for both"),
    pytest.param([ToolCallPiece(name="moon", arguments='"{\\"n\\": 1}"'), ToolCallPiece(name="moon", arguments='"{\\"n\\": 2}"')], id="text of text"),
    pytest.param([ToolCallPiece(name="moon", arguments={"n": 1}), ToolCallPiece(name="moon", arguments={"n": 2})], id="objects"),
]  # fmt: skip


@pytest.mark.parametrize("pieces", ONE_NAME)
def test_calls_of_one_name_are_told_apart_without_numbers(pieces: list[ToolCallPiece]) -> None:
    """Two calls of one tool stay two where nothing but their own text tells where one ends."""
    found = collected([[piece] for piece in pieces])
    assert [(name, json.loads(arguments)) for _, name, arguments in found] == [("moon", {"n": 1}), ("moon", {"n": 2})]
    assert len({call_id for call_id, _, _ in found}) == 2


def test_name_said_again_at_the_end_begins_no_other_call() -> None:
    """A server that repeats a call's name with its last piece has made one call."""
    pieces = [
        ToolCallPiece(place=0, name="moon", arguments='{"n": 1}'),
        ToolCallPiece(place=0, name="moon", arguments=""),
    ]
    assert [name for _, name, _ in collected([[piece] for piece in pieces])] == ["moon"]


@pytest.mark.parametrize(
    "names", [("get", "_weather"), ("ge", "t_weather"), ("get_", "weather"), ("g", "et", "_weather")]
)
def test_name_in_pieces_may_begin_like_another_tool(names: tuple[str, ...]) -> None:
    """A tool whose name begins with another's is called by its whole name."""
    calls = ToolCallCollector({"get", "get_weather"})
    for name in (*names, ""):
        list(calls.add([ToolCallPiece(place=0, name=name, arguments=None if name else OSLO)]))
    assert [(call.name, call.arguments) for call in calls.finished()] == [("get_weather", OSLO)]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments=OSLO)],
                [ToolCallPiece(place=0, id="b", name="weather", arguments=ROME)],
            ],
            id="index always 0",
        ),
        pytest.param(
            [
                [ToolCallPiece(id="a", name="weather", arguments=OSLO)],
                [ToolCallPiece(id="b", name="weather", arguments=ROME)],
            ],
            id="no index",
        ),
        pytest.param(
            [
                [
                    ToolCallPiece(id="a", name="weather", arguments=OSLO),
                    ToolCallPiece(id="b", name="weather", arguments=ROME),
                ]
            ],
            id="no index, one event",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments='{"ci')],
                [ToolCallPiece(place=0, arguments='ty": "Oslo"}')],
                [ToolCallPiece(place=0, id="b", name="weather", arguments='{"ci')],
                [ToolCallPiece(place=0, arguments='ty": "Rome"}')],
            ],
            id="index always 0, in pieces",
        ),
        pytest.param(
            [
                [ToolCallPiece(id="a", name="weather", arguments='{"ci')],
                [ToolCallPiece(arguments='ty": "Oslo"}')],
                [ToolCallPiece(id="b", name="weather")],
                [ToolCallPiece(arguments=ROME)],
            ],
            id="no index, in pieces",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments='{"ci')],
                [ToolCallPiece(place=0, id="a", name="weather", arguments='ty": "Oslo"}')],
                [ToolCallPiece(place=1, id="b", name="weather", arguments=ROME)],
            ],
            id="id and name again",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather"), ToolCallPiece(place=1, id="b", name="weather")],
                [ToolCallPiece(place=1, arguments=ROME)],
                [ToolCallPiece(place=0, arguments=OSLO)],
            ],
            id="in turns",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments={"city": "Oslo"})],
                [ToolCallPiece(place=1, id="b", name="weather", arguments={"city": "Rome"})],
            ],
            id="objects",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments="{}")],
                [ToolCallPiece(place=0, arguments=OSLO)],
                [ToolCallPiece(place=1, id="b", name="weather", arguments=ROME)],
            ],
            id="an empty object first",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments=OSLO)],
                [ToolCallPiece(place=0, id="a", name="weather", arguments=OSLO)],
                [ToolCallPiece(place=1, id="b", name="weather", arguments=ROME)],
            ],
            id="said twice",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="wea")],
                [ToolCallPiece(place=0, name="ther")],
                [ToolCallPiece(place=0, arguments=OSLO)],
                [ToolCallPiece(place=1, id="b", name="weather", arguments=ROME)],
            ],
            id="name in pieces",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="a", name="weather", arguments=json.dumps(OSLO))],
                [ToolCallPiece(place=1, id="b", name="weather", arguments=ROME)],
            ],
            id="text of text",
        ),
    ],
)
def test_calls_are_told_apart(events: list[list[ToolCallPiece]]) -> None:
    """Two calls are two calls with their own arguments, however their pieces are marked."""
    told = collected(events)
    assert [(i, n, json.loads(a)) for i, n, a in told] == [(i, n, json.loads(a)) for i, n, a in TWO]


@pytest.mark.parametrize(
    ("events", "taken"),
    [
        pytest.param(
            [[ToolCallPiece(name="weather", arguments=OSLO)], [ToolCallPiece(name="weather", arguments=ROME)]],
            (),
            id="no ids",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="x", name="weather", arguments=OSLO)],
                [ToolCallPiece(place=1, id="x", name="weather", arguments=ROME)],
            ],
            (),
            id="one id for both",
        ),
        pytest.param(
            [
                [ToolCallPiece(place=0, id="call_0", name="weather", arguments=OSLO)],
                [ToolCallPiece(place=1, name="weather", arguments=ROME)],
            ],
            ("call_0", "call_1"),
            id="ids of earlier turns",
        ),
        pytest.param(
            [
                [ToolCallPiece(id="x", name="weather", arguments=OSLO)],
                [ToolCallPiece(id="x", name="weather", arguments=ROME)],
            ],
            ("x", "x_2"),
            id="one id, no index",
        ),
        pytest.param(
            [[ToolCallPiece(name="weather", arguments="{}"), ToolCallPiece(name="weather", arguments="{}")]],
            (),
            id="alike in one event",
        ),
    ],
)
def test_ids_are_unique_in_their_conversation(events: list[list[ToolCallPiece]], taken: tuple[str, ...]) -> None:
    """Each call has an id that no other has, of this answer or an earlier one, so each result finds its call."""
    told = collected(events, taken=taken)
    assert len(told) == 2
    assert len({each for each, _, _ in told} - set(taken)) == 2


@pytest.mark.parametrize("arguments", ["", None, "null", "{}", " "])
def test_call_without_arguments_has_an_empty_object(arguments: object) -> None:
    """A tool that takes nothing is called with nothing."""
    assert collected([[ToolCallPiece(place=0, id="a", name="moon", arguments=arguments)]]) in (
        [("a", "moon", "{}")],
        [("a", "moon", arguments)],
    )


def test_call_that_was_cut_off_is_not_called_with_nothing() -> None:
    """A call whose arguments were lost at the cap does not look like one that has none."""
    calls = ToolCallCollector({"moon"})
    list(calls.add([ToolCallPiece(place=0, id="a", name="moon")]))
    assert calls.finished(cut=True)[0].arguments == ""


def test_garbled_arguments_stay_garbled() -> None:
    """What cannot be read reaches the tool as it is, to be refused there, and is not replaced by an empty object."""
    assert collected([[ToolCallPiece(place=0, id="a", name="moon", arguments='{"day": ')]]) == [
        ("a", "moon", '{"day": ')
    ]


def test_long_arguments_are_shown_while_they_are_written() -> None:
    """A file that a model writes for minutes reaches the client while it is written."""
    calls = ToolCallCollector({"moon"})
    shown = [
        delta
        for _ in range(50)
        for delta in calls.add([ToolCallPiece(place=0, id="a", name="moon", arguments='{"a": "' + "x" * 20)])
    ]
    assert len(shown) > 10
    assert len(shown[0].arguments) >= HELD_BACK
