"""Whatever a model writes is counted when it comes, also what a stream does not show, or not yet; and nothing twice."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.llm.deltas import ProviderPiece, ServerToolUse, StreamEnd, UsageDelta
from organism.llm.requests import ChatMessage, CompletionRequest, Tool, VendorItem
from organism.router.answers.streamed_answer import StreamedAnswer

WORDS = 100
Events = Iterable[dict[str, Any]]


def chat(delta: dict[str, Any], index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta}], **more}


def called(words: str, index: int = 0, *, begins: bool = False) -> dict[str, Any]:
    named = {"id": "c1", "function": {"name": "f", "arguments": words}}
    return chat({"tool_calls": [{"index": 0, **(named if begins else {"function": {"arguments": words}})}]}, index)


def responded(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, **fields}


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"content_block_{kind}", "index": 0, **fields}


CUSTOM = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c1", "name": "patch"}
SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}
CODE = {"type": "code_interpreter_call", "id": "ci_1", "code": ""}
TEXT = '{"a": "' + "word " * WORDS + '"}'


def chat_pieces() -> dict[str, Events]:
    """Return streams of chat completions, each of about a hundred words."""
    return {
        "words": [chat({"content": "word "}) for _ in range(WORDS)],
        "thoughts": [chat({"reasoning_content": "word "}) for _ in range(WORDS)],
        "refusal": [chat({"refusal": "word "}) for _ in range(WORDS)],
        "another choice": [chat({"content": "word "}, 1) for _ in range(WORDS)],
        "another choice's call": [called(TEXT, 1, begins=True)],
        "a short call": [called('{"a": "x ', begins=True), called("y "), called('z"}')],
        "a call without a name": [called("word ") for _ in range(WORDS)],
        "a call that is no object": [called("word ", begins=n == 0) for n in range(WORDS)],
        "the old call": [chat({"function_call": {"name": "f", "arguments": "word "}}) for _ in range(WORDS)],
        "free text": [
            chat(
                {"tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "p", "input": "word "}}]}
            )
            for _ in range(WORDS)
        ],
    }


def responses_pieces() -> dict[str, Events]:
    """Return the same of responses."""
    return {
        "words": [responded("output_text.delta", delta="word ") for _ in range(WORDS)],
        "thoughts": [responded("reasoning_text.delta", delta="word ") for _ in range(WORDS)],
        "refusal": [responded("refusal.delta", delta="word ") for _ in range(WORDS)],
        "free text": [
            responded("output_item.added", item=CUSTOM),
            *(responded("custom_tool_call_input.delta", delta="word ") for _ in range(WORDS)),
        ],
        "free text, done": [
            responded("output_item.added", item=CUSTOM),
            *(responded("custom_tool_call_input.delta", delta="word ") for _ in range(WORDS)),
            responded("output_item.done", item={**CUSTOM, "input": "word " * WORDS}),
        ],
        "arguments without a name": [responded("function_call_arguments.delta", delta="word ") for _ in range(WORDS)],
        "code of the vendor's": [
            responded("output_item.added", item=CODE),
            *(responded("code_interpreter_call_code.delta", delta="word ") for _ in range(WORDS)),
        ],
    }


def messages_pieces() -> dict[str, Events]:
    """Return the same of messages."""
    call = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    return {
        "words": [block("delta", delta={"type": "text_delta", "text": "word "}) for _ in range(WORDS)],
        "thoughts": [
            block("start", content_block={"type": "thinking", "thinking": ""}),
            *(block("delta", delta={"type": "thinking_delta", "thinking": "word "}) for _ in range(WORDS)),
        ],
        "a call": [
            block("start", content_block=call),
            *(
                block("delta", delta={"type": "input_json_delta", "partial_json": TEXT[at : at + 7]})
                for at in range(0, len(TEXT), 7)
            ),
        ],
    }


READERS: dict[str, tuple[Callable[..., Any], dict[str, Events]]] = {
    "chat": (lambda request, sink: ChatReader(request, COMPATIBLE, sink), chat_pieces()),
    "responses": (lambda request, sink: ResponsesReader(request, VENDORS["openai"], sink), responses_pieces()),
    "messages": (MessagesReader, messages_pieces()),
}
CASES = [(name, what) for name, (_, pieces) in READERS.items() for what in pieces]


def read(name: str, events: Events) -> tuple[Any, list[ProviderPiece], StreamedAnswer]:
    request = CompletionRequest(
        model="m", messages=(ChatMessage("user", "hi"),), max_output_tokens=9, tools=(Tool("f", "", {}),),
        vendor_tools=(VendorItem({"type": "web_search"}),),
    )  # fmt: skip
    pieces: list[ProviderPiece] = []
    reader = READERS[name][0](request, pieces.append)
    for event in events:
        reader.event(event)
    streamed = StreamedAnswer(request)
    for piece in pieces:
        streamed.add(piece)
    return reader, pieces, streamed


@pytest.mark.parametrize(("name", "what"), CASES)
def test_what_is_written_is_counted_when_it_comes(name: str, what: str) -> None:
    """A hundred words are a hundred words, wherever in an answer they stand, and are not counted again at its end."""
    reader, pieces, streamed = read(name, READERS[name][1][what])
    words = 4 if what == "a short call" else WORDS
    assert streamed.passes(words - 2)
    assert not streamed.passes(words + 4)
    before = len(pieces)
    streamed.add(StreamEnd())  # as decoders say
    reader.completion()
    for piece in pieces[before:]:
        streamed.add(piece)
    assert not streamed.passes(0), "what shows at the end alone stops nothing"


@pytest.mark.parametrize(
    ("name", "events"),
    [
        ("responses", [responded("output_item.added", item=SEARCH)]),
        ("responses", [responded("output_item.added", item=CODE)]),
        (
            "messages",
            [block("start", content_block={"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}})],
        ),
    ],
)
def test_use_of_a_vendors_tool_is_told_when_it_begins(name: str, events: Events) -> None:
    """A search is paid for from its beginning, so a call that is cancelled then is charged for it."""
    _, pieces, streamed = read(name, events)
    assert pieces.count(ServerToolUse()) == 1
    assert streamed.has_used_tools


USAGE = {"prompt_tokens": 5, "completion_tokens": 7}


@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("chat", chat({"content": "w"}, usage=USAGE)),
        ("chat", chat({"content": "w"}, usage={**USAGE, "completion_tokens_details": {"reasoning_tokens": 6}})),
        ("responses", responded("output_text.delta", delta="w", usage={"input_tokens": 5, "output_tokens": 7})),
        ("messages", {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 7}}}),
        ("messages", {"type": "message_delta", "delta": {}, "usage": {"input_tokens": 5, "output_tokens": 7}}),
    ],
)
def test_counts_in_mid_stream_are_handed_on(name: str, event: dict[str, Any]) -> None:
    """A provider's own count is known when it comes; what may stand beside its output is not taken for more of it."""
    _, pieces, _ = read(name, [event])
    (count,) = [piece.usage for piece in pieces if isinstance(piece, UsageDelta)]
    assert (count.input, count.output_total) == (5, 7)


@pytest.mark.parametrize("usage", [{}, None, [], {"completion_tokens": "many"}, {"completion_tokens": -1}])
def test_a_count_that_is_none_says_nothing_in_mid_stream(usage: object) -> None:
    """What cannot be read is told at the end of the answer and stops nothing before."""
    _, pieces, streamed = read("chat", [chat({"content": "w"}, usage=usage)])
    assert not [piece for piece in pieces if isinstance(piece, UsageDelta)]
    assert not streamed.passes(1)


def test_the_last_count_of_an_answer_is_no_count_in_its_middle() -> None:
    """An answer that has said why it ended is over: nothing is stopped any more."""
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 10_000}}
    _, pieces, _ = read("chat", [chat({"content": "w"}), last])
    assert pieces == ["w"]
