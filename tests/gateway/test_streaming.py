"""How an answer reaches a client while it is made: in the vendor's order, live, and never silent for long."""

import itertools
import json
from typing import Any

import anyio
import pytest

from organism.formats import server_formats
from organism.formats.errors.faults import Fault
from organism.formats.server_format import Asked, Meta, ServerFormat
from organism.gateway.streaming import ALIVE_EVERY_S, BEGIN_AFTER_S, Streamed
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ReasoningDelta, ToolCallDelta
from organism.llm.requests import ChatMessage, CompletionRequest, Reasoning, ToolCall
from organism.testing import run

ASKED = Asked(
    request=CompletionRequest(model="main", messages=(ChatMessage("user", "hi"),), max_output_tokens=9), stream=True
)
META = Meta(id="1", created_s=1)
ANSWER = Completion(
    text="the tide",
    model="m",
    finish_reason="tool_calls",
    usage=None,
    reasoning=(Reasoning("let me see", "sealed"),),
    tool_calls=(ToolCall("c1", "moon", '{"day":1}'), ToolCall("c2", "sun", "{}")),
)
LIVE: list[Delta] = [
    ReasoningDelta("let me "),
    ReasoningDelta("see"),
    ReasoningDelta(signature="sealed"),
    "the ",
    "tide",
    ToolCallDelta("c1", "moon", '{"day"'),
    ToolCallDelta("c1", "moon", ":1}"),
    ToolCallDelta("c2", "sun", "{}", 1),
]
FORMATS = [
    pytest.param(server_formats.CHAT, id="chat"),
    pytest.param(server_formats.RESPONSES, id="responses"),
    pytest.param(server_formats.MESSAGES, id="messages"),
]


class Client:
    """Takes what is sent, with the time at which it came."""

    def __init__(self) -> None:
        self.statuses: list[float] = []
        self.bodies: list[tuple[float, bytes]] = []

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(anyio.current_time())
        else:
            self.bodies.append((anyio.current_time(), message["body"]))

    @property
    def events(self) -> list[Any]:
        """What is said, comments and the last mark left out."""
        lines = b"".join(body for _, body in self.bodies).decode().splitlines()
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(each) for each in data if each != "[DONE]"]


async def stream(
    format_: ServerFormat, deltas: list[Delta], answer: Completion | Fault, pause_s: float = 0.0
) -> Client:
    """Send an answer piece by piece, with a pause before each."""
    client = Client()
    streamed = Streamed(format_.writer(ASKED, META), ASKED.stream_type, client.send, list)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(streamed.carry)
        for delta in deltas:
            await anyio.sleep(pause_s)
            streamed.add(delta)
        await anyio.sleep(pause_s)
        if isinstance(answer, Fault):
            await streamed.fail(answer)
        else:
            await streamed.end(answer)
        tasks.cancel_scope.cancel()
    return client


def what_is_said(format_: ServerFormat, events: list[Any]) -> list[tuple[str, str]]:
    """Return the pieces that a client of the format reads, those of one kind that follow each other as one."""
    found: list[tuple[str, str]] = []
    for event in events:
        found += _pieces(event)
    joined: list[tuple[str, str]] = []
    for kind, text in found:
        if joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined


def _pieces(event: Any) -> list[tuple[str, str]]:
    match event:
        case (
            {"choices": [{"delta": {"reasoning_content": text}}]}
            | {
                "type": "response.reasoning_summary_text.delta",
                "delta": text,
            }
            | {"delta": {"type": "thinking_delta", "thinking": text}}
        ):
            return [("thought", text)]
        case (
            {"choices": [{"delta": {"tool_calls": [{"index": place, "function": {"arguments": text}}]}}]}
            | {
                "type": "response.function_call_arguments.delta",
                "output_index": place,
                "delta": text,
            }
            | {"index": place, "delta": {"type": "input_json_delta", "partial_json": text}}
        ):
            return [(f"call {place}", text)]
        case {"choices": [{"delta": {"content": str(text)}}]} if text:
            return [("text", text)]
        case {"type": "response.output_text.delta", "delta": text} | {"delta": {"type": "text_delta", "text": text}}:
            return [("text", text)]
        case _:
            return []


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("shown", range(len(LIVE) + 1))
def test_everything_comes_in_order_and_once_however_much_of_it_was_live(format_: ServerFormat, shown: int) -> None:
    """Thoughts, words and calls reach the client whole, wherever the live pieces end and the rest begins."""
    client = run(stream, format_, LIVE[:shown], ANSWER)
    said = what_is_said(format_, client.events)
    assert [text for _, text in sorted(said, key=lambda each: each[0].startswith("call"))][-2:] == ['{"day":1}', "{}"]
    assert sorted(text for _, text in said) == sorted(["let me see", "the tide", '{"day":1}', "{}"])
    if shown == 0 or shown >= 3:
        assert [kind.partition(" ")[0] for kind, _ in said] == ["thought", "text", "call", "call"]


@pytest.mark.parametrize("format_", FORMATS)
def test_client_sees_thoughts_and_arguments_while_they_are_written(format_: ServerFormat) -> None:
    """What a model thinks, and what it writes for a tool, reaches the client at once, not at the end of the answer."""
    client = run(stream, format_, LIVE, ANSWER, 1.0)
    arrived = [round(at) for at, body in client.bodies if b"delta" in body]
    assert arrived[: len(LIVE)] == [1, 2, 3, 4, 5, 6, 7, 8] or arrived[:7] == [1, 2, 4, 5, 6, 7, 8]
    assert round(client.statuses[0]) == 1


@pytest.mark.parametrize("format_", FORMATS)
def test_silent_model_is_no_silent_stream(format_: ServerFormat) -> None:
    """A client hears something within seconds and then again and again while a model thinks unseen for minutes."""
    client = run(stream, format_, [], ANSWER, 120.0)
    times = [at for at, _ in client.bodies]
    assert client.statuses == [BEGIN_AFTER_S]
    assert max(later - sooner for sooner, later in itertools.pairwise(times)) <= ALIVE_EVERY_S
    assert what_is_said(format_, client.events)[0] == ("thought", "let me see")


@pytest.mark.parametrize("format_", FORMATS)
def test_failure_before_anything_was_sent_is_left_to_the_status(format_: ServerFormat) -> None:
    """A refusal that comes soon is an answer of its own, with a status that every client understands."""
    fault = Fault(status=429, kind="budget", code="insufficient_quota", message="spent")
    assert run(stream, format_, [], fault).bodies == []
    late = run(stream, format_, [], fault, BEGIN_AFTER_S + 1)
    assert "spent" in json.dumps(late.events[-1])


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("other", ["another answer", "the"])
def test_answer_of_another_attempt_is_an_error_and_no_mixture(format_: ServerFormat, other: str) -> None:
    """What a first attempt began and a second one answered otherwise is told as broken."""
    answer = Completion(text=other, model="m", finish_reason="stop", usage=None)
    client = run(stream, format_, ["the tide"], answer)
    assert "begun anew" in json.dumps(client.events[-1])


def test_block_of_a_call_that_is_gone_back_to_is_found_by_its_index() -> None:
    """Arguments of two calls that a provider writes in turns end up in the right calls."""
    mixed: list[Delta] = [
        ToolCallDelta("c1", "moon", '{"day"', 0),
        ToolCallDelta("c2", "sun", "{", 1),
        ToolCallDelta("c1", "moon", ":1}", 0),
        ToolCallDelta("c2", "sun", "}", 1),
    ]
    answer = Completion(text="", model="m", finish_reason="tool_calls", usage=None, tool_calls=ANSWER.tool_calls)
    for format_ in (server_formats.CHAT, server_formats.RESPONSES, server_formats.MESSAGES):
        said: dict[str, str] = {}
        for kind, text in what_is_said(format_, run(stream, format_, mixed, answer).events):
            said[kind] = said.get(kind, "") + text
        assert said == {"call 0": '{"day":1}', "call 1": "{}"}
