"""What the pieces of a streamed answer add up to, and what is missing of the whole."""

import pytest

from organism.llm.answers import Completion
from organism.llm.deltas import Delta, DeltaRecord, ReasoningDelta, ToolCallDelta
from organism.llm.requests import Reasoning, ToolCall

ANSWER = Completion(
    text="the tide turns",
    model="m",
    finish_reason="tool_calls",
    usage=None,
    reasoning=(Reasoning("let me see", "sealed", "rs_1"), Reasoning("", "unreadable", redacted=True)),
    tool_calls=(ToolCall("c1", "moon", '{"day":1}'), ToolCall("c2", "sun", "{}")),
)

THOUGHT = ReasoningDelta("let me see", 0, "sealed", "rs_1")
HIDDEN = ReasoningDelta("", 1, "unreadable", redacted=True)
MOON = ToolCallDelta("c1", "moon", '{"day":1}', 0)
SUN = ToolCallDelta("c2", "sun", "{}", 1)


@pytest.mark.parametrize(
    ("came", "rest"),
    [
        pytest.param([], [THOUGHT, HIDDEN, "the tide turns", MOON, SUN], id="nothing"),
        pytest.param(["the ", "tide"], [THOUGHT, HIDDEN, " turns", MOON, SUN], id="some words"),
        pytest.param(
            [ReasoningDelta("let "), "the tide turns"], [ReasoningDelta("me see"), HIDDEN, MOON, SUN], id="a thought"
        ),
        pytest.param(
            [ReasoningDelta("let me see", 3, "sealed"), "the tide turns"],
            [ReasoningDelta("", 4, "unreadable", redacted=True), MOON, SUN],
            id="places with gaps",
        ),
        pytest.param(
            [THOUGHT, HIDDEN, "the tide turns", ToolCallDelta("c1", "moon", '{"da', 7)],
            [ToolCallDelta("c1", "moon", 'y":1}', 7), ToolCallDelta("c2", "sun", "{}", 8)],
            id="a call in the middle of its arguments",
        ),
        pytest.param(
            [THOUGHT, HIDDEN, "the tide turns", ToolCallDelta("c2", "sun", "{}", 4)],
            [ToolCallDelta("c1", "moon", '{"day":1}', 5)],
            id="a later call before an earlier one",
        ),
        pytest.param([THOUGHT, HIDDEN, "the tide turns", MOON, SUN], [], id="everything"),
    ],
)
def test_rest_completes_the_answer(came: list[Delta], rest: list[Delta]) -> None:
    """Whatever has been shown, a client gets the rest of the answer: nothing of it is lost and nothing comes twice."""
    record = DeltaRecord()
    for delta in came:
        record.add(delta)
    assert record.rest_of(ANSWER) == rest


@pytest.mark.parametrize(
    "came",
    [
        pytest.param(["another tide"], id="other words"),
        pytest.param(["the tide turns and turns"], id="more words"),
        pytest.param([ReasoningDelta("what if")], id="another thought"),
        pytest.param([THOUGHT, HIDDEN, ReasoningDelta("a third", 2)], id="more thoughts"),
        pytest.param([ToolCallDelta("c9", "moon", "{")], id="another call"),
        pytest.param([ToolCallDelta("c1", "moon", '{"night"')], id="other arguments"),
        pytest.param([MOON, SUN, ToolCallDelta("c3", "stars", "{}", 2)], id="more calls"),
    ],
)
def test_pieces_of_another_attempt_are_told_from_the_answers_own(came: list[Delta]) -> None:
    """An answer that was begun by an attempt that broke off is never passed off as the one that followed."""
    record = DeltaRecord()
    for delta in came:
        record.add(delta)
    assert record.rest_of(ANSWER) is None
