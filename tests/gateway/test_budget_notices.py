"""What runs low is said once: to the person in a line of an answer, to the model in a note behind everything else."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from organism import Limits
from organism.budget.scopes import BudgetPlan
from organism.gateway.budget_notices import line_for, with_note, without_lines
from organism.llm.requests import ChatMessage, CompletionRequest, TextPart, ToolCall, ToolResult
from organism.messages import BudgetWarning
from organism.providers.anthropic import AnthropicProvider
from organism.stores.sqlite import SqliteJournal
from organism.testing import HTTPStep, ManualClock
from tests.gateway.conftest import UPSTREAM, anthropic_sdk

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI = [{"role": "user", "content": "hi there"}]
WARN = {"warn": "text"}
MARK = "[organism: "
CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
TOOLS = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
    "responses": [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}],
    "messages": [{"name": "weather", "input_schema": {"type": "object"}}],
}


async def ask(gateway: Any, form: str, stream: bool, **options: Any) -> str:
    """Make a call by an official SDK and return the visible text that it has read."""
    if form == "chat":
        client = gateway.client.chat.completions
        if not stream:
            return (await client.create(model="main", messages=HI, **options)).choices[0].message.content or ""
        chunks = [each async for each in await client.create(model="main", messages=HI, stream=True, **options)]
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    if form == "responses":
        client = gateway.client.responses
        if not stream:
            return str((await client.create(model="main", input="hi there", **options)).output_text)
        events = [each async for each in await client.create(model="main", input="hi there", stream=True, **options)]
        told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert told == events[-1].response.output_text
        return told
    base = str(gateway.http.base_url)
    async with anthropic_sdk(base, max_retries=0) as claude:
        asked = {"model": "main", "max_tokens": 50, "messages": HI} | options
        if not stream:
            answer = await claude.messages.create(**asked)
        else:
            async with claude.messages.stream(**asked) as stream_of_events:
                answer = await stream_of_events.get_final_message()
        return "".join(block.text for block in answer.content if block.type == "text")


FORMS = [(form, stream) for form in ("chat", "responses", "messages") for stream in (False, True)]
IDS = [f"{form}-{'stream' if stream else 'whole'}" for form, stream in FORMS]


@pytest.mark.anyio
@pytest.mark.parametrize(("form", "stream"), FORMS, ids=IDS)
async def test_person_is_told_once_at_each_threshold(served: Serve, form: str, stream: bool) -> None:
    """In the answer of the call that reaches it, with every number and the command; under a new limit once more."""
    async with served(limits=Limits(calls=10), gateway=WARN) as gateway:
        told = [await ask(gateway, form, stream) for _ in range(10)]
        await gateway.operator.put("/v1/threads/key-ci/limits", json={"calls": 12})
        told.append(await ask(gateway, form, stream))

    assert [each.count(MARK) for each in told] == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert told[7] == (
        "one two three\n\n[organism: 80 % of thread:key-ci is used, 2 calls left of 10 calls; "
        "to go on for longer: organism budget raise thread:key-ci --calls 10]"
    )
    assert all(each.startswith("one two three") for each in told)


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_nobody_is_told_again_after_a_restart(served: Serve, tmp_path: Path, stream: bool) -> None:
    """Neither the person in a line nor the model in a note hears of a threshold that was told before; of the next."""
    settings, told, noted = WARN | {"inject_note": True}, [], []
    for life in (8, 1, 1, 2):
        async with served(
            limits=Limits(calls=12), gateway=settings, journal=SqliteJournal(tmp_path / "journal.db")
        ) as gateway:
            told += [(await ask(gateway, "chat", stream)).count(MARK) for _ in range(life)]
            noted += [b"[Note: " in msgspec.json.encode(request.body) for request in gateway.provider.requests]

    assert told == [0] * 8 + [1, 0, 1, 1]
    assert noted == [False] * 9 + [True, False, True]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("chat", {"response_format": {"type": "json_object"}}),
        ("chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}}),
        ("responses", {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}}),
        ("messages", {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}),
        ("chat", {}),
        ("messages", {"messages": [*HI, {"role": "assistant", "content": "{"}]}),
    ],
    ids=["JSON mode", "chat schema", "responses schema", "messages schema", "JSON unasked", "prefilled"],
)
async def test_answer_that_a_program_reads_has_no_line(served: Serve, form: str, options: dict[str, Any]) -> None:
    """A schema is a schema; whoever is to be told is told in the next answer that is made of words."""
    json = '{"a": "b"}'
    async with served([json] * 4 + ["some words"], limits=Limits(calls=4), gateway=WARN) as gateway:
        spoiled = [await ask(gateway, form, stream, **options) for stream in (False, True, True, False)]
        await gateway.operator.put("/v1/threads/key-ci/limits", json={"calls": 6})
        told = await ask(gateway, form, stream=False)

    assert spoiled == [json] * 4
    assert told.count(MARK) == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("form", "stream"), FORMS, ids=IDS)
async def test_call_of_a_tool_stays_as_it_is(served: Serve, form: str, stream: bool) -> None:
    """Calls without words get none; where the model says something first, the line stands behind that."""
    steps = [HTTPStep(text="", tool_calls=(CALL,))] * 3 + [HTTPStep(text="I look.", tool_calls=(CALL,))] * 4
    async with served(steps, limits=Limits(calls=4), gateway=WARN) as gateway:
        silent = [await ask(gateway, form, stream, tools=TOOLS[form]) for _ in range(3)]
        said = await ask(gateway, form, stream, tools=TOOLS[form])

    assert silent == ["", "", ""]
    assert said.startswith("I look.\n\n[organism: ")


@pytest.mark.anyio
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_what_is_kept_and_what_the_model_reads_is_without_the_line(served: Serve, stream: bool) -> None:
    """Neither a kept conversation nor one that the client sends back tells the model what it never said."""
    async with served(limits=Limits(calls=4), gateway=WARN) as gateway:
        await ask(gateway, "chat", stream)
        create = gateway.client.responses.create
        if stream:
            events = [event async for event in await create(model="main", input="hi", stream=True)]
            first = events[-1].response
        else:
            first = await create(model="main", input="hi")
        assert MARK in first.output_text
        assert (await gateway.client.responses.retrieve(first.id)).output_text == "one two three"
        back = {"role": "assistant", "content": first.output_text}
        await create(model="main", input="go on", previous_response_id=first.id)
        await gateway.operator.put("/v1/threads/key-ci/limits", json={"calls": 100})
        await gateway.client.chat.completions.create(model="main", messages=[*HI, back, *HI])
        items = [{"role": "user", "content": "hi"}, *[item.model_dump(exclude_none=True) for item in first.output]]
        await create(model="main", input=[*items, {"role": "user", "content": "go on"}])

        for request in gateway.provider.requests[-3:]:
            turns = [turn for turn in request.body["messages"] if turn["role"] == "assistant"]
            assert [turn["content"] for turn in turns] == ["one two three"]


@pytest.mark.anyio
async def test_note_for_the_model_leaves_what_is_cached_as_it_is(served: Serve) -> None:
    """What Anthropic keeps ends at the client's mark: instructions and turns before it are the same with a note."""
    marked = [{"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}}]
    asked: dict[str, Any] = {
        "model": "main", "max_tokens": 9, "system": [{"type": "text", "text": "Be kind."}],
        "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"},
                     {"role": "user", "content": marked}],
    }  # fmt: skip

    def upstream(url: str) -> AnthropicProvider:
        return AnthropicProvider("double", UPSTREAM, url)

    async with served(upstream=upstream, limits=Limits(calls=4), gateway={"inject_note": True}) as gateway:
        for _ in range(4):
            assert (await gateway.http.post("/v1/messages", json=asked)).status_code == 200
        plain, noted = gateway.provider.requests[0].body, gateway.provider.requests[2].body

    assert noted["system"] == plain["system"]
    assert noted["messages"][:-1] == plain["messages"][:-1]
    *same, note = noted["messages"][-1]["content"]
    assert same == plain["messages"][-1]["content"]
    assert "cache_control" in same[-1]
    assert note.keys() == {"type", "text"}
    assert note["text"].startswith("[Note: 50 % of the budget is used; 2 calls left")


ASSISTANT = ChatMessage("assistant", "I say")
RESULT = ChatMessage("user", (ToolResult("call_1", "rain"),))


@pytest.mark.parametrize(
    ("messages", "last"),
    [
        ((ChatMessage("user", "hi"),), ChatMessage("user", "hi\n\nnote")),
        ((ChatMessage("user", "hi", cache=True),), ChatMessage("user", "note")),
        ((ChatMessage("system", "be kind"),), ChatMessage("user", "note")),
        ((RESULT,), ChatMessage("user", (ToolResult("call_1", "rain"), TextPart("note")))),
        ((ChatMessage("user", "hi"), ASSISTANT), None),
    ],
    ids=["words", "marked", "instructions", "result of a tool", "answer to go on with"],
)
def test_note_stands_behind_everything(messages: tuple[ChatMessage, ...], last: ChatMessage | None) -> None:
    """Each turn begins as it did; an answer that the model is to go on with stays the last turn."""
    noted = with_note(CompletionRequest(model="m", max_output_tokens=9, messages=messages), "note")
    assert (noted.messages[-1] if noted is not None else None) == last


@pytest.mark.parametrize("account", ["thread:t", "agent:a]b@day:2026-11-24", "model:x/y@thread:t", "organism@month:2"])
@pytest.mark.parametrize("dimension", ["tokens", "usd", "seconds", "calls"])
def test_every_line_is_found_again(account: str, dimension: Any) -> None:
    """Whatever a line says, it is taken out of what a client sends back, and only out of what the model has said."""
    warning = BudgetWarning(
        account=account, dimension=dimension, threshold=75, level="warning", limit=10**9, spent=800_000_000
    )
    line = line_for(warning)
    turns = (
        ChatMessage("user", f"a{line}"),
        ChatMessage("assistant", f"b{line} c"),
        ChatMessage("assistant", (TextPart(f"d{line}"), TextPart("e"))),
    )
    request = without_lines(CompletionRequest(model="m", max_output_tokens=9, messages=turns))
    expected = (turns[0], ChatMessage("assistant", "b c"), ChatMessage("assistant", (TextPart("d"), TextPart("e"))))
    assert request.messages == expected
    assert msgspec.json.decode(msgspec.json.encode(line)) == line


@pytest.mark.anyio
async def test_day_that_is_over_warns_of_nothing(served: Serve) -> None:
    """A thread that stands for long is told of the present day, in headers and lines: yesterday's limit is gone."""
    clock = ManualClock()
    plan = BudgetPlan(thread=Limits(), windows={"day": Limits(calls=2)}, warn_ahead=0)
    async with served(limits=plan, gateway=WARN, clock=clock) as gateway:
        told = [await ask(gateway, "chat", stream=False) for _ in range(2)]
        clock.advance(86_400)
        raw = await gateway.client.chat.completions.with_raw_response.create(model="main", messages=HI)

    assert [each.count(MARK) for each in told] == [0, 1]
    assert raw.headers["organism-budget-remaining-calls"] == "1"
    assert "organism-warning" not in raw.headers
    assert MARK not in raw.text
