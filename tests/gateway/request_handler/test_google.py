"""Google's generateContent at the gateway: programs of its SDK are served by any provider, and held like others."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest

from organism import Limits
from organism.llm.requests import ToolCall
from organism.providers.anthropic import AnthropicProvider
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import BOUNDS, UPSTREAM

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
MAIN = "/v1beta/models/main"
HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
TIDE: dict[str, Any] = {"content": {"parts": [{"text": "the tide "}, {"text": "comes in"}]}}
BLOB = {"mimeType": "a/b", "data": ""}
WEATHER = {
    "name": "weather",
    "description": "Tells it.",
    "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING", "nullable": True}}},
}
TOOLS = [{"functionDeclarations": [WEATHER]}]
CALLED = HTTPStep(text="", tool_calls=(ToolCall("call_9", "weather", '{"city": "Bonn"}'),))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def upstream_of(make: str) -> Callable[[str], Any]:
    """Return what makes an upstream that speaks a format."""
    if make == "messages":
        return lambda url: AnthropicProvider("double", UPSTREAM, url, bounds=BOUNDS)
    api: Any = make
    return lambda url: OpenAIProvider("double", UPSTREAM, f"{url}/v1", api=api, bounds=BOUNDS)


def events_of(text: str) -> list[dict[str, Any]]:
    """Return the responses of a stream."""
    return [msgspec.json.decode(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def parts_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of an answer's first candidate."""
    parts: list[dict[str, Any]] = answer["candidates"][0]["content"]["parts"]
    return parts


@pytest.mark.parametrize("make", ["chat", "messages", "responses"])
async def test_an_answer_comes_whole_and_in_pieces(served: Serve, make: str) -> None:
    """Text, its end and its usage come in Google's words from any provider, and are charged like any call."""
    async with served(upstream=upstream_of(make)) as gateway:
        whole = (await gateway.http.post(f"{MAIN}:generateContent", json=HI)).json()
        assert parts_of(whole) == [{"text": "one two three"}]
        assert whole["candidates"][0]["finishReason"] == "STOP"
        used = whole["usageMetadata"]
        assert used["totalTokenCount"] == used["promptTokenCount"] + used["candidatesTokenCount"] > 0
        stream = await gateway.http.post(f"{MAIN}:streamGenerateContent?alt=sse", json=HI)
        pieces = events_of(stream.text)
        assert "".join(part["text"] for piece in pieces for part in parts_of(piece)) == "one two three"
        assert [piece["candidates"][0].get("finishReason") for piece in pieces][-1] == "STOP"
        assert pieces[-1]["usageMetadata"] == used
        spent = gateway.organism.thread_budgets("key-ci")[0].spent.tokens
        assert spent == 2 * used["totalTokenCount"]


@pytest.mark.parametrize("path", ["?alt=json", ""])
async def test_pieces_are_one_array_unless_events_are_asked_for(served: Serve, path: str) -> None:
    """Programs without Google's SDK leave ``alt`` out, and read the responses as one JSON value."""
    async with served() as gateway:
        stream = await gateway.http.post(f"{MAIN}:streamGenerateContent{path}", json=HI)
        assert stream.headers["content-type"].startswith("application/json")
        pieces = stream.json()
        assert len(pieces) > 1
        assert "".join(part["text"] for piece in pieces for part in parts_of(piece)) == "one two three"
        assert pieces[-1]["usageMetadata"]["totalTokenCount"] > 0


async def test_an_array_that_breaks_off_is_whole_json_with_the_error_last(served: Serve) -> None:
    """Whoever reads the array can read it to its end, and finds why it ended there."""
    broken = HTTPStep(text="one two three", fault="cut", fault_after=2)
    async with served([broken]) as gateway:
        stream = await gateway.http.post(f"{MAIN}:streamGenerateContent", json=HI)
        *_, last = stream.json()
        assert last["error"]["status"] in {"INTERNAL", "UNAVAILABLE"}


async def test_texts_become_vectors_and_are_charged(served: Serve) -> None:
    """One text and several, of the size that is asked for, held and charged like any call."""
    async with served([HTTPStep(), HTTPStep()]) as gateway:
        wish = {**TIDE, "output_dimensionality": 2}
        one = (await gateway.http.post(f"{MAIN}:embedContent", json={**wish, "model": "models/main"})).json()
        several = (await gateway.http.post(f"{MAIN}:batchEmbedContents", json={"requests": [wish, wish]})).json()
        assert gateway.provider.requests[0].body["input"] == ["the tide comes in"]
        assert gateway.provider.requests[0].body["dimensions"] == 2
        vectors = [one["embedding"], *several["embeddings"]]
        assert [len(each["values"]) for each in vectors] == [2, 2, 2]
        used = sum(answer["usageMetadata"]["promptTokenCount"] for answer in (one, several))
        assert gateway.organism.thread_budgets("key-ci")[0].spent.tokens == used > 0


@pytest.mark.parametrize("make", ["chat", "messages", "responses"])
@pytest.mark.parametrize("named", [True, False], ids=["with ids", "without"])
async def test_functions_are_called_and_answered(served: Serve, make: str, named: bool) -> None:
    """A loop of a function goes round with every provider, also where the client gives no ids back."""
    async with served([CALLED, CALLED, "sunny"], upstream=upstream_of(make)) as gateway:
        asked = {**HI, "tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}
        (part,) = parts_of((await gateway.http.post(f"{MAIN}:generateContent", json=asked)).json())
        assert (part["functionCall"]["name"], part["functionCall"]["args"]) == ("weather", {"city": "Bonn"})
        sent = msgspec.json.encode(gateway.provider.requests[-1].body).decode()
        assert '"type":["string","null"]' in sent
        stream = await gateway.http.post(f"{MAIN}:streamGenerateContent?alt=sse", json=asked)
        calls = [
            each["functionCall"]
            for piece in events_of(stream.text)
            for each in parts_of(piece)
            if "functionCall" in each
        ]
        assert [call["args"] for call in calls] == [{"city": "Bonn"}]
        call = part["functionCall"] if named else {name: part["functionCall"][name] for name in ("name", "args")}
        result = {"name": "weather", "response": {"sky": "blue"}} | ({"id": call["id"]} if named else {})
        turns = [*HI["contents"], {"role": "model", "parts": [{"functionCall": call}]},
                 {"role": "user", "parts": [{"functionResponse": result}]}]  # fmt: skip
        last = await gateway.http.post(f"{MAIN}:generateContent", json={"contents": turns, "tools": TOOLS})
        assert parts_of(last.json()) == [{"text": "sunny"}]
        told = msgspec.json.encode(gateway.provider.requests[-1].body).decode()
        assert told.count("call_9" if named else "call_1") == 2, "the call and its result belong together"


@pytest.mark.parametrize(
    ("mode", "choice"),
    [("ANY", {"type": "function", "function": {"name": "weather"}}), ("VALIDATED", "auto"), ("NONE", "none")],
)
async def test_the_one_function_that_is_allowed_is_forced_in_one_mode_alone(
    served: Serve, mode: str, choice: object
) -> None:
    """A program that lets the model answer in words or by one function gets words, and no call again and again."""
    config = {"mode": mode, "allowedFunctionNames": ["weather"]}
    asked = {**HI, "tools": TOOLS, "toolConfig": {"functionCallingConfig": config}}
    async with served(["sunny"], upstream=upstream_of("chat")) as gateway:
        await gateway.http.post(f"{MAIN}:generateContent", json=asked)
        assert gateway.provider.requests[-1].body["tool_choice"] == choice


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"systemInstruction": {"parts": [{"text": "Be brief."}]}}, "Be brief."),
        ({"system_instruction": {"parts": {"text": "Be brief."}}}, "Be brief."),
        ({"generationConfig": {"temperature": 0.5, "topP": 0.9, "stopSequences": ["X"], "seed": 3}}, '"seed":3'),
        ({"generation_config": {"max_output_tokens": 33}}, '"max_tokens":33'),
        ({"generationConfig": {"candidateCount": 2}}, '"n":2'),
        ({"generationConfig": {"responseMimeType": "application/json"}}, "json_object"),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, "json_schema"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}, '"reasoning_effort":"low"'),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, '"reasoning_effort":"none"'),
        ({"safetySettings": [{"category": "A", "threshold": "B"}], "labels": {"a": "b"}}, '"hi"'),
        ({"contents": [{"parts": [{"text": "see"}, {"inlineData": {"mimeType": "image/png", "data": PIXEL}}]}]}, PIXEL),
    ],
    ids=str,
)  # fmt: skip
async def test_fields_reach_the_provider(served: Serve, fields: Any, sent: str) -> None:
    """What is asked for in Google's words is asked for in the provider's."""
    async with served() as gateway:
        answer = await gateway.http.post(f"{MAIN}:generateContent", json={**HI, **fields})
        body = msgspec.json.encode(gateway.provider.requests[-1].body).decode()

    assert answer.status_code == 200, answer.text
    assert sent in body


async def test_thoughts_come_to_those_who_ask(served: Serve) -> None:
    """Thoughts are parts of their own, and left out unless they are asked for."""
    async with served([HTTPStep(text="yes", reasoning="hm")] * 3) as gateway:
        wish = {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}
        told = (await gateway.http.post(f"{MAIN}:generateContent", json={**HI, **wish})).json()
        assert parts_of(told) == [{"text": "hm", "thought": True}, {"text": "yes"}]
        assert parts_of((await gateway.http.post(f"{MAIN}:generateContent", json=HI)).json()) == [{"text": "yes"}]
        stream = await gateway.http.post(f"{MAIN}:streamGenerateContent?alt=sse", json={**HI, **wish})
        thoughts = [part["text"] for piece in events_of(stream.text) for part in parts_of(piece) if part.get("thought")]
        assert "".join(thoughts) == "hm"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (f"{MAIN}:generateContent", {**HI, "cachedContent": "c"}, 400, "cachedContent: what is kept at the vendor"),
        (f"{MAIN}:generateContent", {**HI, "tools": [{"googleSearch": {}}]}, 400, "googleSearch"),
        (f"{MAIN}:streamGenerateContent?alt=proto", HI, 400, "'sse' or 'json'"),
        (f"{MAIN}:asyncBatchEmbedContent", HI, 404, "'batchEmbedContents'"),
        (f"{MAIN}:embedContent", {**TIDE, "taskType": "RETRIEVAL_QUERY"}, 400, "taskType: providers"),
        (f"{MAIN}:embedContent", {"content": {"parts": [{"inlineData": BLOB}]}}, 400, "text alone"),
        (f"{MAIN}:embedContent", {"content": {"parts": [{"text": ""}]}}, 400, "nothing cannot be"),
        (f"{MAIN}:batchEmbedContents", {"requests": []}, 400, "requests"),
        (f"{MAIN}:batchEmbedContents", {"requests": [{**TIDE, "title": "t"}]}, 400, "title: providers"),
        (f"{MAIN}:batchEmbedContents", {"requests": [{**TIDE, "model": "models/other"}]}, 400, "requests[0].model"),
        (f"{MAIN}:batchEmbedContents", {"requests": [TIDE, {**TIDE, "outputDimensionality": 2}]}, 400, "the same"),
        ("/v1beta/models/nope:generateContent", HI, 404, "nope"), (f"{MAIN}:generateContent", {}, 400, "contents"),
    ],
    ids=["cache", "search", "no JSON", "verb", "task", "picture", "no text", "no texts", "title", "other", "sizes",
         "model", "empty"],
)  # fmt: skip
async def test_refusals_have_the_vendors_shape(served: Serve, path: str, body: Any, status: int, said: str) -> None:
    """What cannot be done is refused by name, in the words that Google's SDK shows, before anything is sent."""
    async with served() as gateway:
        answer = await gateway.http.post(path, json=body)

        assert (answer.status_code, answer.json()["error"]["code"]) == (status, status), answer.text
        assert said in answer.json()["error"]["message"]
        assert gateway.provider.requests == []


async def test_a_spent_budget_a_key_and_a_path_are_told_in_its_words(served: Serve) -> None:
    """Whoever shows Google's errors shows these; the key goes in Google's header."""
    async with served(limits=Limits(tokens=10)) as gateway:
        spent = await gateway.http.post(f"{MAIN}:generateContent", json=HI)
        assert (spent.status_code, spent.json()["error"]["status"]) == (402, "RESOURCE_EXHAUSTED")
        assert spent.json()["error"]["details"][0]["code"] == "insufficient_quota"
        assert spent.headers["x-should-retry"] == "false"
        gateway.http.headers.pop("authorization")
        stranger = await gateway.http.post(f"{MAIN}:generateContent", json=HI)
        assert (stranger.status_code, stranger.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
        nowhere = await gateway.http.post("/v1beta/files", json={})
        assert (nowhere.status_code, nowhere.json()["error"]["status"]) == (404, "NOT_FOUND")
        gateway.http.headers["x-goog-api-key"] = "sk-of-the-build-servers"
        listed = (await gateway.http.get("/v1beta/models")).json()["models"]
        assert [each["name"] for each in listed] == ["models/main", "models/other"]
        assert (await gateway.http.get(MAIN)).json()["name"] == "models/main"
        assert (await gateway.http.get("/v1beta/models/nope")).status_code == 404
        count = await gateway.http.post(f"{MAIN}:countTokens", json={"generateContentRequest": HI})
        assert count.json()["totalTokens"] > 0


@pytest.mark.parametrize("whole", ["x", [1], 5, True])
async def test_a_count_of_what_is_no_request_is_refused_by_name(served: Serve, whole: object) -> None:
    """What stands in the place of a request is looked at before it is taken for one."""
    async with served() as gateway:
        answer = await gateway.http.post(f"{MAIN}:countTokens", json={"generateContentRequest": whole})
        assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "generateContentRequest" in answer.json()["error"]["message"]


async def test_a_thought_in_a_turn_of_the_user_is_refused_before_anything_is_held(served: Serve) -> None:
    """Thoughts and calls are the model's; no provider's format has a place for them in another turn."""
    async with served() as gateway:
        turn = {"role": "user", "parts": [{"text": "hm", "thought": True}]}
        answer = await gateway.http.post(f"{MAIN}:generateContent", json={"contents": [turn]})
        assert (answer.status_code, gateway.provider.requests) == (400, [])
        assert "no Reasoning" in answer.json()["error"]["message"]
