"""What nobody would send on purpose, made from bodies that are right: nothing is answered with a 5xx.

The gateway's routes are not in the API's own OpenAPI document, since their formats are other people's; so requests are
not generated from that, but by breaking good ones.
"""

from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from organism import Organism
from organism.api.application import Options, build_api
from organism.api.tokens.token_book import TokenBook
from organism.gateway.request_handler import Gateway
from organism.gateway.routes import gateway_group
from organism.gateway.settings import Settings
from organism.testing import ScriptedProvider
from tests.gateway.conftest import TOKEN, writer

GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "main",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c", "content": "done"},
        ],
        "max_tokens": 5,
        "stop": ["END"],
        "stream": False,
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    },
    "/v1/responses": {
        "model": "main",
        "instructions": "be brief",
        "input": [
            {"role": "user", "content": "hi"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "done"}]},
        ],
        "max_output_tokens": 5,
        "reasoning": {"effort": "low"},
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
    },
    "/v1/messages": {
        "model": "main",
        "max_tokens": 5,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "title": "t", "source": {"type": "text", "data": "a", "media_type": "text/plain"}},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": None}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "done"}]},
            ]},
        ],
        "stop_sequences": ["END"],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "f"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    },
    "/v1/embeddings": {"model": "main", "input": ["a b", [1, 2, 3]], "dimensions": 4, "encoding_format": "base64"},
}  # fmt: skip
GOOD["/v1/messages/count_tokens"] = GOOD["/v1/messages"]

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=3),
)


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return every place in a body where something else could stand."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def with_junk(value: Any, path: tuple[str | int, ...], junk: object) -> Any:
    """Return a copy of a body with something else at one place."""
    if not path:
        return junk
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_junk(value[path[0]], path[1:], junk)
    return copy


@pytest.mark.parametrize("path", GOOD)
def test_no_broken_body_is_answered_with_5xx(path: str) -> None:
    """Wherever something else stands in a good request, the answer is an answer or a 4xx in the format's shape."""
    answered: dict[int, int] = {}

    async def send(bodies: list[Any]) -> None:
        organism = Organism(
            [writer],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(["one two three"])},
            provider_kinds={"scripted": "local"},
        )
        tokens = TokenBook(organism.clock.now_ns)
        tokens.know("owner", TOKEN, ("admin",))
        group = gateway_group(Gateway(organism.control, Settings(models=("main",))), tokens)
        api = build_api(organism.control, tokens, Options(groups=(group,)))
        headers = {"authorization": f"Bearer {TOKEN}"}
        transport = httpx2.ASGITransport(api)
        async with (
            organism,
            httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=60) as http,
        ):
            for body in bodies:
                answer = await http.post(path, json=body)
                answered[answer.status_code] = answered.get(answer.status_code, 0) + 1
                assert answer.status_code < 500, (body, answer.text)
                if answer.is_error:
                    assert answer.json()["error"]["message"]

    good = GOOD[path]
    broken = st.builds(lambda place, junk: with_junk(good, place, junk), st.sampled_from(places(good)), JUNK)

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(broken, min_size=20, max_size=20))
    def all_of(bodies: list[Any]) -> None:
        anyio.run(send, bodies)

    anyio.run(send, [good])
    assert answered == {200: 1}
    all_of()
    assert answered[200] > 1
    assert answered[400] > 100
