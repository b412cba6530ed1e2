"""Fields of OpenAI's formats, through the real gateway: passed on, crossed into the other formats, or refused."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from organism import Limits
from organism.llm.requests import ToolCall
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import BOUNDS, UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI: list[Any] = [{"role": "user", "content": "hi"}]
CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
GRAMMAR = {"syntax": "lark", "definition": "start: /x+/"}
PATCH = {"type": "custom", "custom": {"name": "patch", "description": "Edits.",
                                      "format": {"type": "grammar", "grammar": GRAMMAR}}}  # fmt: skip
FUNCTION = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}


def messages(url: str) -> AnthropicProvider:
    """Return an upstream of another make."""
    return AnthropicProvider("double", UPSTREAM, url, bounds=BOUNDS)


def own(url: str) -> OpenAIProvider:
    """Return OpenAI's own, as far as its words go."""
    return OpenAIProvider("double", UPSTREAM, f"{url}/v1", vendor="openai", bounds=BOUNDS)


def responses(url: str) -> OpenAIProvider:
    """Return the same in its other format."""
    return OpenAIProvider("double", UPSTREAM, f"{url}/v1", api="responses", bounds=BOUNDS)


def chat_of(*messages: dict[str, Any], **more: Any) -> HTTPStep:
    """Return an answer of chat completions with these messages as its choices."""
    choices = [{"index": place, "finish_reason": "stop", "message": message} for place, message in enumerate(messages)]
    return HTTPStep(body=msgspec.json.encode({"model": "m", "choices": choices, "usage": USAGE, **more}).decode())


def response_of(*items: dict[str, Any], **more: Any) -> HTTPStep:
    """Return an answer of responses with these items."""
    usage = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18}
    whole = {"id": "r", "status": "completed", "model": "m", "output": items, "usage": usage, **more}
    return HTTPStep(body=msgspec.json.encode(whole).decode())


def events_of(text: str) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [msgspec.json.decode(line) for line in lines if line != "[DONE]"]


async def sent(gateway: Any, path: str, **body: Any) -> dict[str, Any]:
    """Post a request that must be answered, and return the answer."""
    answer = await gateway.http.post(path, json={"model": "main", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


async def refused(gateway: Any, path: str, **body: Any) -> str:
    """Post a request that must be refused before anything is sent, and return why."""
    before = len(gateway.provider.requests)
    answer = await gateway.http.post(path, json={"model": "main", **body})
    assert answer.status_code == 400, answer.text
    assert len(gateway.provider.requests) == before
    return str(answer.json()["error"]["message"])


async def test_what_is_not_honoured_says_what_to_do_instead(served: Serve) -> None:
    """Each refusal names its field, or the type of what stands in it, and the way that works here."""
    chat = [
        ({"audio": {"voice": "a", "format": "wav"}}, "audio: models are asked for text"),
        ({"provider": {"order": ["a"]}}, "provider: hosts have other prices"),
        ({"models": ["a", "b"]}, "models: which model takes over"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort: "),
        ({"extra_body": {"google": {"cached_content": "c"}}}, "extra_body.google.cached_content"),
        ({"moderation": {"model": "m"}}, "moderation: ask for"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "send what was said as text"),
        ({"top_logprobs": 3}, "logprobs: true"),
    ]
    other = [
        ({"prompt": {"id": "p"}}, "send the text"),
        ({"tools": [{"type": "programmatic_tool_calling"}]}, "what it costs is not known"),
        ({"input": [{"type": "compaction_trigger"}]}, "leave it out"), ({"access_programs": {}}, "where the provider"),
        ({"tools": [{"type": "native", "value": {"type": "web_search"}}]}, "no type 'native'"),
    ]  # fmt: skip
    async with served() as gateway:
        for fields, why in chat:
            assert why in await refused(gateway, CHAT, **{"messages": HI, **fields}), fields
        for fields, why in other:
            assert why in await refused(gateway, RESPONSES, **{"input": "hi", **fields}), fields
        for fields in ({"suffix": "x"}, {"best_of": 3}, {"echo": True}, {"logprobs": 2}, {"prompt": ["a", "b"]}):
            assert next(iter(fields)) in await refused(gateway, COMPLETIONS, **{"prompt": "hi", **fields})


async def test_custom_tools_are_called_in_chat_completions(served: Serve) -> None:
    """A tool that is given free text works with every provider: natively at OpenAI's, as a function at others."""
    called = {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": 'a "b"'}}
    native = chat_of({"role": "assistant", "content": None, "tool_calls": [called]})
    function = HTTPStep(text="", tool_calls=(ToolCall("call_1", "patch", '{"input": "a \\"b\\""}'),))
    for upstream, step in ((own, native), (None, function), (messages, function), (responses, function)):
        async with served([step], upstream=upstream) as gateway:
            choice = {"type": "custom", "custom": {"name": "patch"}}
            options: dict[str, Any] = {"tools": [PATCH, FUNCTION], "tool_choice": choice}
            answer = (await sent(gateway, CHAT, messages=HI, **options))["choices"][0]
            assert answer["message"]["tool_calls"] == [called], upstream
            assert answer["finish_reason"] == "tool_calls"
            stream = await gateway.http.post(CHAT, json={"model": "main", "messages": HI, "stream": True, **options})
            calls = [
                call
                for event in events_of(stream.text)
                for choice in event["choices"]
                for call in choice["delta"].get("tool_calls", ())
            ]
            assert calls == [{"index": 0, **called}], upstream
            turns = [*HI, answer["message"], {"role": "tool", "tool_call_id": "call_1", "content": "ok"}]
            await sent(gateway, CHAT, messages=turns, **options)
            body = gateway.provider.requests[-1].body
            text = msgspec.json.encode(body).decode()
            assert "start: /x+/" in text
            if upstream is own:
                assert body["tools"] == [PATCH, FUNCTION]
                assert body["messages"][1]["tool_calls"] == [called]
                assert body["tool_choice"] == options["tool_choice"]


async def test_custom_calls_come_in_pieces(served: Serve) -> None:
    """What a provider streams of a call with free text is put together, and told when it is whole."""
    pieces = [
        {"index": 0, "id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "a"}},
        {"index": 0, "custom": {"input": " b"}},
        {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "patch", "input": "c"}},
    ]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]} for piece in pieces]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}, {"choices": [], "usage": USAGE}]
    body = "".join(f"data: {msgspec.json.encode(chunk).decode()}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    async with served([HTTPStep(body=body, headers={"content-type": "text/event-stream"})], upstream=own) as gateway:
        calls = (await sent(gateway, CHAT, messages=HI, tools=[PATCH]))["choices"][0]["message"]["tool_calls"]
        assert [(call["id"], call["custom"]["input"]) for call in calls] == [("call_1", "a b"), ("call_2", "c")]


async def test_only_allowed_tools_are_offered(served: Serve) -> None:
    """A choice among some of the tools leaves the others out, as all providers understand it."""
    async with served() as gateway:
        for mode, names in (("auto", ["f"]), ("required", ["patch"]), ("auto", ["f", "patch"])):
            kinds = {"f": "function", "patch": "custom"}
            named = [{"type": kinds[name], kinds[name]: {"name": name}} for name in names]
            choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": named}}
            await sent(gateway, CHAT, messages=HI, tools=[FUNCTION, PATCH], tool_choice=choice)
            body = gateway.provider.requests[-1].body
            assert [tool["function"]["name"] for tool in body["tools"]] == names
            assert body["tool_choice"] == mode


async def test_several_answers_are_held_charged_and_told(served: Serve) -> None:
    """Each of the answers may have the cap; all of them reach the client, whole and in a stream."""
    said = [{"role": "assistant", "content": word} for word in ("one", "two", "three")]
    async with served([chat_of(*said)], limits=Limits(tokens=1000)) as gateway:
        answer = await sent(gateway, CHAT, messages=HI, n=3, max_tokens=50)
        assert [choice["message"]["content"] for choice in answer["choices"]] == ["one", "two", "three"]
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
        assert gateway.provider.requests[-1].body["n"] == 3
        assert gateway.provider.requests[-1].body["max_tokens"] == 50
        assert gateway.organism.thread_budgets("key-ci")[0].spent.tokens == 18
        body = {"model": "main", "messages": HI, "n": 3, "max_tokens": 400, "stream": True}
        events = events_of((await gateway.http.post(CHAT, json=body)).text)
        texts = ["".join(c["delta"].get("content", "") for e in events for c in e["choices"] if c["index"] == place)
                 for place in range(3)]  # fmt: skip
        assert texts == ["one", "two", "three"]
        assert [c["index"] for e in events for c in e["choices"] if c["finish_reason"]] == [0, 1, 2]
        assert gateway.provider.requests[-1].body["max_tokens"] < 400, "three caps of 400 and the input fit no more"
        text = (await sent(gateway, COMPLETIONS, prompt="hi", n=3, max_tokens=20))["choices"]
        assert [choice["text"] for choice in text] == ["one", "two", "three"]
    for upstream in (responses, messages):
        async with served(upstream=upstream) as gateway:
            assert "'n'" in await refused(gateway, CHAT, messages=HI, n=2)


LIKELY = [{"token": "hi", "logprob": -0.5, "bytes": None, "top_logprobs": []}]


async def test_logprobs_cross_between_openais_formats(served: Serve) -> None:
    """How likely each token was reaches the client in the words of its format, whoever of the two has said it."""
    message = {"role": "assistant", "content": "hi"}
    chat = HTTPStep(body=msgspec.json.encode({
        "model": "m", "usage": USAGE,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": LIKELY}}],
    }).decode())  # fmt: skip
    text = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": LIKELY}
    other = response_of({"type": "message", "id": "m", "role": "assistant", "content": [text]})
    for upstream, step in ((None, chat), (responses, other)):
        async with served([step], upstream=upstream) as gateway:
            asked = {"logprobs": True, "top_logprobs": 2}
            answer = await sent(gateway, CHAT, messages=HI, **asked)
            assert answer["choices"][0]["logprobs"]["content"] == LIKELY
            body = gateway.provider.requests[-1].body
            assert body["top_logprobs"] == 2
            assert body.get("logprobs") is True or body["include"] == ["message.output_text.logprobs"]
            stream = await gateway.http.post(CHAT, json={"model": "main", "messages": HI, "stream": True, **asked})
            found = [choice["logprobs"] for event in events_of(stream.text) for choice in event["choices"]]
            assert [each["content"] for each in found if each] == [LIKELY]
            for more in ({"top_logprobs": 2}, {"include": ["message.output_text.logprobs"]}):
                answer = await sent(gateway, RESPONSES, input="hi", **more)
                assert answer["output"][0]["content"][0]["logprobs"] == LIKELY
            stream = await gateway.http.post(RESPONSES, json={"model": "main", "input": "hi", "stream": True, **more})
            assert events_of(stream.text)[-1]["response"]["output"][0]["content"][0]["logprobs"] == LIKELY
    async with served(upstream=messages) as gateway:
        assert "'logprobs'" in await refused(gateway, CHAT, messages=HI, logprobs=True)


def priced() -> PriceBook:
    """Return prices of a thousand nano-USD a token of input, and twice that of output."""
    rates = flat_rates(input=1_000_000_000, output=2_000_000_000, source="test")
    return PriceBook({"double/m": rates, "double/o": rates}, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


PRICED: dict[str, Any] = {
    "provider_kinds": {"double": "openai"},
    "prices": priced(),
    "limits": Limits(cost_nanousd=10**10, tokens=10**6),
}
PLAIN = 9 * 1000 + 9 * 2000


async def test_a_dearer_tier_is_asked_for_held_and_charged(served: Serve) -> None:
    """Priority costs twice; what the provider says it has served decides, and silence counts as granted."""
    for asked, told, times in (
        ("priority", None, 2), ("fast", "priority", 2), ("priority", "default", 1), ("flex", "flex", 1),
        ("auto", None, 1),
    ):  # fmt: skip
        more = {} if told is None else {"service_tier": told}
        async with served([chat_of({"content": "hi"}, **more)], **PRICED) as gateway:
            answer = await sent(gateway, CHAT, messages=HI, service_tier=asked)
            assert answer.get("service_tier") == told
            body = gateway.provider.requests[-1].body
            assert body.get("service_tier") == {"fast": "priority", "auto": None}.get(asked, asked)
            assert gateway.organism.thread_budgets("key-ci")[0].spent.cost_nanousd == times * PLAIN
    async with served(upstream=messages) as gateway:
        assert "'service_tier'" in await refused(gateway, CHAT, messages=HI, service_tier="priority")
    tight = {**PRICED, "limits": Limits(cost_nanousd=150 * 2000)}
    async with served([chat_of({"content": "hi"})], **tight) as gateway:
        await sent(gateway, CHAT, messages=HI, service_tier="priority", max_tokens=100)
        assert gateway.provider.requests[-1].body["max_tokens"] < 75, "at twice the price half the answer fits"


SEARCHED = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}}
OPENED = {**SEARCHED, "id": "ws_2", "action": {"type": "open_page", "url": "u"}}
RAN = {"type": "code_interpreter_call", "id": "ci", "code": "1", "container_id": "c", "status": "completed"}
WEB: dict[str, Any] = {"type": "web_search"}
CODE: dict[str, Any] = {"type": "code_interpreter", "container": {"type": "auto", "memory_limit": "4g"}}
FILES: dict[str, Any] = {"type": "file_search", "vector_store_ids": ["v"]}


async def test_fees_of_openais_tools_are_held_and_charged(served: Serve) -> None:
    """A search, a file search, a container and a picture cost what OpenAI's page says, beside the tokens."""
    counted = {"tool_usage": {"web_search": {"num_requests": 3}}}
    cases: list[tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any], int]] = [
        (WEB, [SEARCHED, OPENED], {}, 10_000_000), (WEB, [SEARCHED], counted, 30_000_000), (WEB, [], {}, 0),
        ({"type": "web_search_preview"}, [SEARCHED], {}, 25_000_000), (CODE, [RAN, RAN], {}, 120_000_000),
        (FILES, [{"type": "file_search_call", "id": "f"}] * 2, {}, 5_000_000),
        ({"type": "image_generation"}, [{"type": "image_generation_call", "id": "i"}], {}, 300_000_000),
        ({"type": "mcp", "server_label": "s", "server_url": "https://m.example"}, [{"type": "mcp_call"}], {}, 0),
        ({"type": "local_shell"}, [{"type": "local_shell_call", "id": "l"}], {}, 0),
    ]  # fmt: skip
    spoken = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}
    for tool, items, more, fee in cases:
        async with served([response_of(*items, spoken, **more)], upstream=responses, **PRICED) as gateway:
            await sent(gateway, RESPONSES, input="hi", tools=[tool])
            assert gateway.organism.thread_budgets("key-ci")[0].spent.cost_nanousd == PLAIN + fee, tool
            bounded = tool["type"] not in {"mcp", "local_shell", "code_interpreter"}
            assert (gateway.provider.requests[-1].body.get("max_tool_calls") == 10) is (bounded or tool is CODE), tool
    tight = {**PRICED, "limits": Limits(cost_nanousd=60_000_000, tokens=10**6)}
    async with served([response_of(SEARCHED, spoken)], upstream=responses, **tight) as gateway:
        body = {"model": "main", "input": "hi", "tools": [WEB], "max_output_tokens": 50}
        assert (await gateway.http.post(RESPONSES, json=body)).status_code == 402
        assert (await gateway.http.post(RESPONSES, json={**body, "max_tool_calls": 2})).status_code == 200
        assert gateway.provider.requests[-1].body["max_tool_calls"] == 2


async def test_web_search_of_chat_completions_is_passed_on_and_charged(served: Serve) -> None:
    """Its options reach a server of chat completions as they are; other formats have no such field."""
    options = {"search_context_size": "low", "user_location": {"type": "approximate", "approximate": {"city": "Bonn"}}}
    async with served([chat_of({"content": "hi"})], **PRICED) as gateway:
        await sent(gateway, CHAT, messages=HI, web_search_options=options)
        assert gateway.provider.requests[-1].body["web_search_options"] == options
        assert gateway.organism.thread_budgets("key-ci")[0].spent.cost_nanousd == PLAIN + 50_000_000
    for upstream in (responses, messages):
        async with served(upstream=upstream) as gateway:
            assert "'web_search'" in await refused(gateway, CHAT, messages=HI, web_search_options={})


PAGE = {"start_index": 3, "end_index": 6, "title": "Sea", "url": "https://sea.example"}


async def test_sources_cross_between_formats(served: Serve) -> None:
    """What an answer rests on reaches clients of each format in its own words, whole and in a stream."""
    chat = chat_of({"content": "It wet.", "annotations": [{"type": "url_citation", "url_citation": PAGE}]})
    text = {"type": "output_text", "text": "It wet.", "annotations": [{"type": "url_citation", **PAGE}]}
    other = response_of({"type": "message", "id": "m", "role": "assistant", "content": [text]})
    for upstream, step in ((None, chat), (responses, other)):
        async with served([step], upstream=upstream) as gateway:
            said = (await sent(gateway, CHAT, messages=HI))["choices"][0]["message"]
            assert said["annotations"] == [{"type": "url_citation", "url_citation": PAGE}]
            answer = await sent(gateway, RESPONSES, input="hi")
            assert answer["output"][0]["content"][0]["annotations"] == [{"type": "url_citation", **PAGE}]
            block = (await sent(gateway, "/v1/messages", messages=HI, max_tokens=9))["content"][0]
            assert (block["citations"][0]["url"], block["citations"][0]["title"]) == (PAGE["url"], PAGE["title"])

            async def events(path: str, **body: Any) -> list[dict[str, Any]]:
                sent = await gateway.http.post(path, json={"model": "main", "stream": True, **body})
                return events_of(sent.text)

            found = [c["delta"].get("annotations") for e in await events(CHAT, messages=HI) for c in e["choices"]]
            assert [each for each in found if each] == [[{"type": "url_citation", "url_citation": PAGE}]]
            told = await events(RESPONSES, input="hi")
            added = [each["annotation"] for each in told if each["type"] == "response.output_text.annotation.added"]
            assert added == [{"type": "url_citation", **PAGE}]
            assert told[-1]["response"]["output"][0]["content"][0]["annotations"] == added
            told = await events("/v1/messages", messages=HI, max_tokens=9)
            assert [each["delta"]["citation"]["url"] for each in told if each.get("delta", {}).get("citation")] == [
                PAGE["url"]
            ]


async def test_a_refusal_is_its_own_part_of_a_response(served: Serve) -> None:
    """A model that says no has said it: the answer is complete, and what it holds is no text of an answer."""
    chat = chat_of({"content": None, "refusal": "I will not."})
    part = {"type": "refusal", "refusal": "I will not."}
    item = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "content": [part],
    }
    for upstream, step in ((None, chat), (responses, response_of(item))):
        async with served([step], upstream=upstream) as gateway:
            answer = await sent(gateway, RESPONSES, input="hi")
            assert answer["status"] == "completed"
            assert answer["output"][0]["content"] == [part]
            body = {"model": "main", "input": "hi", "stream": True}
            told = events_of((await gateway.http.post(RESPONSES, json=body)).text)
            assert "".join(each["delta"] for each in told if each["type"] == "response.refusal.delta") == "I will not."
            assert told[-1]["response"]["output"][0]["content"] == answer["output"][0]["content"]
            assert not [each for each in told if each["type"].startswith("response.output_text")]
            kept = await gateway.http.get(f"{RESPONSES}/{told[-1]['response']['id']}")
            assert kept.json()["output"] == told[-1]["response"]["output"]
            for path, more in ((CHAT, {}), ("/v1/messages", {"max_tokens": 9})):
                body = {"model": "main", "messages": HI, "stream": True, **more}
                assert "I will not." in (await gateway.http.post(path, json=body)).text


async def test_plain_completions_are_served(served: Serve) -> None:
    """A program from before there was chat gets its text, whole and as it is written, from any provider."""
    for upstream in (None, messages, responses):
        async with served(["one two three"], upstream=upstream) as gateway:
            answer = await gateway.client.completions.create(model="main", prompt="hi", max_tokens=33, user="u")
            assert (answer.object, answer.choices[0].text) == ("text_completion", "one two three")
            assert answer.choices[0].finish_reason == "stop"
            assert answer.usage.total_tokens == 4
            stream = await gateway.client.completions.create(
                model="main", prompt=["hi"], stream=True, stream_options={"include_usage": True}
            )
            pieces = [piece async for piece in stream]
            assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == "one two three"
            assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "stop"
            assert pieces[-1].usage.total_tokens == 4
            sent_on = gateway.provider.requests[0].body
            assert sent_on.get("max_tokens", sent_on.get("max_output_tokens")) == 33


async def test_what_an_answer_was_given_can_be_read_again(served: Serve) -> None:
    """The whole conversation behind a kept answer comes a page at a time, for its own key alone."""
    async with served() as gateway:
        first = await gateway.client.responses.create(model="main", input="one", store=True)
        second = await gateway.client.responses.create(model="main", input="two", previous_response_id=first.id)
        listed = [item async for item in gateway.client.responses.input_items.list(second.id, order="asc")]
        assert [item.content[0].text for item in listed] == ["one", "one two three", "two"]
        newest = await gateway.client.responses.input_items.list(second.id, limit=2)
        assert [item.content[0].text for item in newest.data] == ["two", "one two three"]
        assert newest.has_more
        rest = await gateway.client.responses.input_items.list(second.id, after=newest.data[-1].id)
        assert [item.content[0].text for item in rest.data] == ["one"]
        for path, status in (
            (f"{second.id}/input_items?limit=0", 400), (f"{second.id}/input_items?order=up", 400),
            (f"{second.id}/input_items?after=x", 400), ("resp_x/input_items", 404),
        ):  # fmt: skip
            assert (await gateway.http.get(f"{RESPONSES}/{path}")).status_code == status
        assert (await gateway.operator.get(f"{RESPONSES}/{second.id}/input_items")).status_code == 404


async def test_names_of_models_may_have_slashes(served: Serve) -> None:
    """A program that insists on a vendor's full name is served by a model of that name."""
    name = "openai/gpt-5-mini"
    models = {name: "double/org/m:free", "main": "double/m"}
    async with served(gateway={"models": (name,)}, models=models) as gateway:
        answer = await gateway.client.chat.completions.create(model=name, messages=HI)
        assert answer.choices[0].message.content == "one two three"
        assert gateway.provider.requests[-1].body["model"] == "org/m:free"
        assert (await gateway.client.models.retrieve(name)).id == name
