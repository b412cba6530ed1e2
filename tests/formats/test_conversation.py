"""A conversation begun with one vendor goes on with another: what its API would refuse is mended, nothing is lost."""

import re

import pytest

from organism.errors import UnsupportedError
from organism.formats import server_formats
from organism.formats.anthropic_messages.request import encode as encode_messages
from organism.formats.anthropic_messages.server_request import read_request
from organism.formats.conversation import ANY_ID, NO_RESULT, IdRule, mended
from organism.formats.openai_chat.request import encode as encode_chat
from organism.formats.openai_embeddings.client import encode as encode_embeddings
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.requests import (
    ChatMessage,
    CompletionRequest,
    Part,
    Reasoning,
    TextPart,
    Tool,
    ToolCall,
    ToolResult,
)
from organism.pricing.rates import flat_rates, kept_for_an_hour
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider

USER = ChatMessage("user", "go")
MISTRAL = IdRule(kept="A-Za-z0-9", most=9, exact=True)
RULES = {"anthropic": IdRule(), "openai": ANY_ID, "mistral": MISTRAL}
IDS = [
    "call_1", "functions.f:0", "call_1|fc_0123456789abcdef", "", "é", "chatcmpl-tool-0123456789abcdef0123456789abcdef",
    "a b", "x" * 200, "toolu_01A", "D681PevKs",
]  # fmt: skip


def said(*parts: Part) -> ChatMessage:
    return ChatMessage("assistant", parts)


def told(*parts: Part) -> ChatMessage:
    return ChatMessage("user", parts)


def call(call_id: str) -> ToolCall:
    return ToolCall(call_id, "f", "{}")


def request(*messages: ChatMessage, **options: object) -> CompletionRequest:
    return CompletionRequest(model="m", messages=messages, max_output_tokens=4000, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("call_id", IDS)
def test_ids_become_such_as_the_vendor_takes_on_both_sides(rule: IdRule, call_id: str) -> None:
    """Whatever an id looks like, call and result carry the same one, which the next vendor takes."""
    _, made, result = mended([USER, said(call(call_id)), told(ToolResult(call_id, "done"))], rule)

    (asked,), (given,) = made.parts, result.parts
    assert isinstance(asked, ToolCall)
    assert isinstance(given, ToolResult)
    assert asked.id == given.call_id
    assert rule.takes(asked.id)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_ids_that_repeat_or_fall_together_are_told_apart(rule: IdRule) -> None:
    """Models repeat ids from turn to turn and within one; each call still gets its own result."""
    messages = [
        USER,
        said(call("f:0"), call("f.0"), call("f:0")),
        told(ToolResult("f:0", "one"), ToolResult("f.0", "two"), ToolResult("f:0", "three")),
        said(call("f:0")),
        told(ToolResult("f:0", "four")),
    ]

    fixed = mended(messages, rule)

    calls = [part.id for turn in fixed for part in turn.parts if isinstance(part, ToolCall)]
    results = [part for turn in fixed for part in turn.parts if isinstance(part, ToolResult)]
    assert len(set(calls)) == len(calls) == 4
    assert [part.call_id for part in results] == calls
    assert [part.content for part in results] == ["one", "two", "three", "four"]


def test_sound_conversation_is_left_as_it_is() -> None:
    """What needs no mending is sent just as it was, so that caches of it hold."""
    messages = (USER, said(call("call_1")), told(ToolResult("call_1", "done"), TextPart("and now?")), USER)

    assert mended(messages, IdRule()) == messages


def test_call_without_a_result_and_result_without_a_call_are_told() -> None:
    """A conversation that was cut in the middle goes on: the model learns that a call was not run."""
    fixed = mended(
        [told(ToolResult("lost", "seven")), said(call("a"), call("b")), told(ToolResult("b", "done")), USER], IdRule()
    )

    assert fixed[0].text.endswith("seven")
    assert fixed[2].parts == (ToolResult("a", NO_RESULT, is_error=True), ToolResult("b", "done"))
    assert fixed[-1] == USER


def test_results_follow_their_calls_at_once() -> None:
    """Results that come after other words, or in several turns, are put where vendors want them."""
    fixed = mended(
        [USER, said(call("a")), said(call("b")), USER, told(ToolResult("b", "2")), told(ToolResult("a", "1"))], IdRule()
    )

    assert [turn.role for turn in fixed] == ["user", "assistant", "user", "user"]
    assert fixed[2].parts == (ToolResult("a", "1"), ToolResult("b", "2"))


ODD = {
    "empty answer": [USER, ChatMessage("assistant", ""), USER],
    "blank question": [ChatMessage("user", "  "), USER],
    "empty part": [told(TextPart(""), TextPart("go"))],
    "empty result": [USER, said(call("a")), told(ToolResult("a", ""))],
    "blank parts of a result": [USER, said(call("a")), told(ToolResult("a", (TextPart(" "),)))],
    "instructions in the middle": [USER, ChatMessage("assistant", "hm"), ChatMessage("system", "be brief"), USER],
    "instructions alone": [ChatMessage("system", "Say hello.")],
    "nothing at all": [ChatMessage("user", "")],
    "begins with an answer": [ChatMessage("assistant", "Hello!"), USER],
    "ends in white space": [USER, ChatMessage("assistant", "Sure: \n")],
    "ends in white space, in parts": [USER, said(TextPart("Sure: \n"))],
    "thoughts of another vendor": [USER, said(Reasoning("I should"), call("a")), told(ToolResult("a", "1"))],
    "sealed thoughts of another vendor": [USER, said(Reasoning("", "gAAA", "rs_1"), TextPart("yes")), USER],
    "nothing but thoughts": [USER, said(Reasoning("hm")), USER],
    "two questions": [
        USER,
        ChatMessage("user", "and?"),
        ChatMessage("assistant", "yes"),
        ChatMessage("assistant", "no"),
        USER,
    ],
}


@pytest.mark.parametrize("messages", ODD.values(), ids=ODD.keys())
def test_anthropic_gets_nothing_that_it_refuses(messages: list[ChatMessage]) -> None:
    """Empty texts, foreign thoughts, turns in a wrong order: mended before they leave."""
    body = encode_messages(request(*messages), stream=False)

    turns = body["messages"]
    assert isinstance(turns, list)
    assert turns
    assert [turn["role"] for turn in turns] == [("user", "assistant")[place % 2] for place in range(len(turns))]
    for turn in turns:
        blocks = [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]
        assert blocks
        for block in blocks:
            assert block["type"] != "thinking"
            assert block["type"] != "text" or block["text"].strip()
            assert block["type"] != "tool_result" or block["content"]
        if turn is turns[-1] and turn["role"] == "assistant":
            assert blocks[-1]["text"] == blocks[-1]["text"].rstrip()


def test_instructions_are_never_lost() -> None:
    """Instructions in the middle go to the others; instructions alone become what the model is told."""
    middle = encode_messages(request(*ODD["instructions in the middle"]), stream=False)
    alone = encode_messages(request(*ODD["instructions alone"]), stream=False)

    assert middle["system"] == "be brief"
    assert "Say hello." in str(alone["messages"])


def test_own_thoughts_go_back_with_their_seal() -> None:
    """What Anthropic has sealed itself is given back as it was."""
    body = encode_messages(
        request(USER, said(Reasoning("I should", "seal"), call("a")), told(ToolResult("a", "1"))), stream=False
    )

    assert {"type": "thinking", "thinking": "I should", "signature": "seal"} in body["messages"][1]["content"]  # type: ignore[index]


@pytest.mark.parametrize(("thought", "asked"), [(Reasoning("I should", "seal"), True), (Reasoning("I should"), False)])
def test_budget_to_think_waits_while_anothers_call_is_open(thought: Reasoning, asked: bool) -> None:
    """A call that another vendor's model has made has no seal to begin with, which a budget to think would demand."""
    turns = (USER, said(thought, call("a")), told(ToolResult("a", "1")))

    assert ("thinking" in encode_messages(request(*turns, reasoning_tokens=2000), stream=False)) == asked


# -- marks to keep ----------------------------------------------------------------------------------------------------

EPHEMERAL = {"type": "ephemeral"}


def test_marks_with_their_time_reach_anthropic_from_its_own_format() -> None:
    """Marks on instructions, tools, turns and results arrive where they were, for as long as they say."""
    hour, usual = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral", "ttl": "5m"}
    asked = read_request(
        {
            "model": "m",
            "system": [{"type": "text", "text": "a", "cache_control": hour}, {"type": "text", "text": "b"}],
            "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": hour}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "go", "cache_control": usual}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "1", "cache_control": EPHEMERAL}
                ]},
            ],
        },
        100,
    )  # fmt: skip
    body = encode_messages(asked.request, stream=False)

    assert body["system"][0]["cache_control"] == hour  # type: ignore[index]
    assert body["tools"][0]["cache_control"] == hour  # type: ignore[index]
    assert body["messages"][0]["content"][0]["cache_control"] == EPHEMERAL  # type: ignore[index]
    assert body["messages"][2]["content"][0]["cache_control"] == EPHEMERAL  # type: ignore[index]


def test_marks_in_openais_format_reach_anthropic() -> None:
    """Clients that write marks into chat completions are understood, on the results of tools too."""
    hour = {"type": "ephemeral", "ttl": "1h"}
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    told_back = [{"type": "text", "text": "1", "cache_control": EPHEMERAL}]
    asked = server_formats.CHAT.read(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": [{"type": "text", "text": "a", "cache_control": hour}]},
                {"role": "user", "content": "go"},
                {"role": "assistant", "tool_calls": calls},
                {"role": "tool", "tool_call_id": "a", "content": told_back},
            ],
        },
        100,
    )
    body = encode_messages(asked.request, stream=False)

    assert body["system"][0]["cache_control"] == hour  # type: ignore[index]
    assert body["messages"][2]["content"][0]["cache_control"] == EPHEMERAL  # type: ignore[index]


def test_keeping_for_an_hour_is_priced_as_what_it_costs() -> None:
    """What is kept for longer is written at twice the price of plain input, so no bill is larger than the record."""
    rates = kept_for_an_hour(flat_rates(input=3, output=15, cache_write=4, source="s"))
    asked = request(ChatMessage("system", "a", cache=True, cache_ttl="1h"), USER)

    assert asked.keeps_for_an_hour
    assert not request(ChatMessage("system", "a", cache=True), USER).keeps_for_an_hour
    assert request(USER, tools=(Tool("f", "", {}, cache=True, cache_ttl="1h"),)).keeps_for_an_hour
    assert (rates.cache_write.base, rates.dearest_input()) == (6, 6)


# -- what a vendor has no word for ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "options", "name"),
    [
        (AnthropicProvider("p", "k"), {"seed": 7}, "seed"),
        (OpenAIProvider("p", "k", api="responses"), {"seed": 7}, "seed"),
        (OpenAIProvider("p", "k", api="responses"), {"stop": ("END",)}, "stop"),
        (OpenAIProvider("p", "k", vendor="mistral"), {"reasoning_effort": "high"}, "reasoning_effort"),
        (OpenAIProvider("p", "k", vendor="deepseek"), {"reasoning_effort": "low"}, "reasoning_effort"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(
    provider: AnthropicProvider | OpenAIProvider, options: dict[str, object], name: str
) -> None:
    """Nothing is dropped in silence: the route is left out before anything is held, and the field is named."""
    with pytest.raises(UnsupportedError, match=name):
        provider.extra_tokens(request(USER, **options))
    provider.extra_tokens(request(USER))


def test_turn_of_thoughts_alone_has_an_empty_text_in_chat() -> None:
    """A turn whose thoughts are not given back is still a turn: null content is refused beside no calls."""
    turns = encode_chat(request(USER, said(Reasoning("hm")), USER), COMPATIBLE, stream=False)["messages"]

    assert turns[1]["content"] == ""  # type: ignore[index]


def test_mistral_gets_ids_of_nine_letters_and_digits() -> None:
    """Each vendor's own rule for ids holds for conversations from elsewhere."""
    turns = encode_chat(
        request(USER, said(call("call_1")), told(ToolResult("call_1", "1"))), VENDORS["mistral"], stream=False
    )

    made = turns["messages"][1]["tool_calls"][0]["id"]  # type: ignore[index]
    assert re.fullmatch(r"[A-Za-z0-9]{9}", made)
    assert turns["messages"][2]["tool_call_id"] == made  # type: ignore[index]


@pytest.mark.parametrize(
    ("vendor", "asked"), [("openai", True), ("azure", True), ("gemini", False), ("mistral", False)]
)
def test_vectors_are_asked_for_in_a_form_that_the_vendor_gives(vendor: str, asked: bool) -> None:
    """Base64 only from who is known to give it: others refuse the whole request over the word."""
    body = encode_embeddings(EmbeddingRequest(model="m", inputs=("a",)), VENDORS[vendor])

    assert ("encoding_format" in body) == asked
    assert "encoding_format" not in encode_embeddings(EmbeddingRequest(model="m", inputs=("a",)), COMPATIBLE)
