"""Tools that a vendor runs itself: passed on, held with their fees, charged as used, and told as they came."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import anthropic
import msgspec
import pytest

from organism import Limits
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.providers.anthropic import AnthropicProvider
from organism.testing import HTTPStep
from tests.gateway.conftest import BOUNDS, UPSTREAM, anthropic_sdk

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]
HI: list[Any] = [{"role": "user", "content": "sea"}]
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
FETCH = {"type": "web_fetch_20250910", "name": "web_fetch", "max_uses": 2, "max_content_tokens": 1000}
CODE = {"type": "code_execution_20250825", "name": "code_execution"}
CITED = {
    "type": "web_search_result_location", "url": "https://sea.example", "title": "Sea", "cited_text": "wet",
    "encrypted_index": "E",
}  # fmt: skip
USED = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "sea"}}
FOUND = {
    "type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "url": "https://sea.example", "title": "Sea", "encrypted_content": "X",
                 "page_age": None}],
}  # fmt: skip
CONTENT: list[dict[str, Any]] = [
    {"type": "text", "text": "I look."}, USED, FOUND, {"type": "text", "text": "It is "},
    {"type": "text", "text": "wet", "citations": [CITED]}, {"type": "text", "text": "."},
]  # fmt: skip


def messages(url: str) -> AnthropicProvider:
    """Return Anthropic's, as far as its words go."""
    return AnthropicProvider("double", UPSTREAM, url, bounds=BOUNDS)


def answer_of(content: list[dict[str, Any]], searches: int | None = 1, **more: Any) -> HTTPStep:
    """Return a message with these blocks, whole."""
    used = {} if searches is None else {"server_tool_use": {"web_search_requests": searches}}
    usage = {"input_tokens": 9, "output_tokens": 9, **used}
    whole = {"type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "end_turn"}
    return HTTPStep(body=msgspec.json.encode(whole | {"usage": usage} | more).decode())


def stream_of(content: list[dict[str, Any]], searches: int = 1) -> HTTPStep:
    """Return the same in pieces, as Anthropic sends it."""
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 9}}}
    ]
    for index, block in enumerate(content):
        begun, deltas = dict(block), []
        match block["type"]:
            case "text":
                begun = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": block["text"]}]
                deltas += [{"type": "citations_delta", "citation": each} for each in block.get("citations", ())]
            case "server_tool_use":
                begun["input"] = {}
                text = msgspec.json.encode(block["input"]).decode()
                deltas = [{"type": "input_json_delta", "partial_json": part} for part in ("", text[:4], text[4:])]
        events.append({"type": "content_block_start", "index": index, "content_block": begun})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    usage = {"input_tokens": 9, "output_tokens": 9, "server_tool_use": {"web_search_requests": searches}}
    events += [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
        {"type": "message_stop"},
    ]
    body = "".join(f"event: {each['type']}\ndata: {msgspec.json.encode(each).decode()}\n\n" for each in events)
    return HTTPStep(body=body, headers={"content-type": "text/event-stream"})


def claude(gateway: Any) -> anthropic.AsyncAnthropic:
    url = str(gateway.http.base_url).rstrip("/")
    return anthropic_sdk(url, max_retries=0)


def plain(content: Any) -> list[dict[str, Any]]:
    """Return blocks as the SDK has read them, without what it adds."""
    return [{name: value for name, value in block.to_dict().items() if value is not None} for block in content]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_search_comes_back_in_order_with_its_sources_and_goes_on(served: Serve, stream: bool) -> None:
    """Blocks of the vendor's, and what words rest on, stand where the provider had them, and go back to it."""
    step = stream_of(CONTENT) if stream else answer_of(CONTENT)
    async with served([step, "done"], upstream=messages) as gateway, claude(gateway) as client:
        options: dict[str, Any] = {"model": "main", "max_tokens": 99, "tools": [SEARCH]}
        turns: list[Any] = [{"role": "user", "content": "what is the sea?"}]
        if stream:
            async with client.messages.stream(**options, messages=turns) as events:
                answer = await events.get_final_message()
        else:
            answer = await client.messages.create(**options, messages=turns)
        assert plain(answer.content) == CONTENT
        assert answer.usage.server_tool_use.web_search_requests == 1  # type: ignore[union-attr]
        turns += [{"role": "assistant", "content": plain(answer.content)}, {"role": "user", "content": "sure?"}]
        await client.messages.create(**options, messages=turns)

        sent = gateway.provider.requests[-1].body
        assert sent["messages"][1]["content"] == CONTENT
        assert sent["tools"] == [SEARCH]


PRICED: dict[str, Any] = {
    "provider_kinds": {"double": "anthropic"},
    "limits": Limits(cost_nanousd=10**9, tokens=10**6),
}


def priced() -> PriceBook:
    """Return prices of a thousand nano-USD a token of input, and twice that of output."""
    rates = flat_rates(input=1_000_000_000, output=2_000_000_000, source="test")
    return PriceBook({"double/m": rates, "double/o": rates}, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("content", "searches", "tools", "fee"),
    [
        (CONTENT, 1, [SEARCH], 10_000_000), (CONTENT, 3, [SEARCH], 30_000_000), (CONTENT, None, [SEARCH], 10_000_000),
        (CONTENT[:1], 0, [SEARCH], 0), (CONTENT, 0, [SEARCH], 0),
        ([{**USED, "name": "bash_code_execution"}] * 2, 0, [CODE], 50_000_000),
        ([{**USED, "name": "web_fetch"}], 0, [FETCH], 0),
    ],
    ids=["one", "three", "uncounted", "none", "failed", "code", "fetch"],
)  # fmt: skip
async def test_fees_are_charged_as_used(
    served: Serve, content: Any, searches: int | None, tools: Any, fee: int
) -> None:
    """The bill has the fee of each search beside the tokens: as the provider counts them, else as they are seen."""
    async with served([answer_of(content, searches)], upstream=messages, prices=priced(), **PRICED) as gateway:
        body = {"model": "main", "max_tokens": 50, "tools": tools, "messages": [{"role": "user", "content": "sea"}]}
        sent = await gateway.http.post("/v1/messages", json=body)

        assert sent.status_code == 200, sent.text
        spent = gateway.organism.thread_budgets("key-ci")[0].spent.cost_nanousd
        assert spent == 9 * 1000 + 9 * 2000 + fee


@pytest.mark.parametrize(
    ("tool", "fees"),
    [(SEARCH, 3), ({**SEARCH, "max_uses": 1}, 1), ({"type": SEARCH["type"], "name": "web_search"}, 10)],
)
async def test_all_searches_that_may_be_are_held(served: Serve, tool: Any, fees: int) -> None:
    """A budget that has no room for every search there may be refuses the call; what bounds them is always sent."""
    limit = {**PRICED, "limits": Limits(cost_nanousd=fees * 10_000_000)}
    body = {"model": "main", "max_tokens": 50, "tools": [tool], "messages": [{"role": "user", "content": "sea"}]}
    async with served([answer_of(CONTENT)], upstream=messages, prices=priced(), **limit) as gateway:
        refused = await gateway.http.post("/v1/messages", json=body)
        assert refused.status_code == 402
        assert gateway.provider.requests == []
    async with served([answer_of(CONTENT)], upstream=messages, prices=priced(), **PRICED) as gateway:
        assert (await gateway.http.post("/v1/messages", json=body)).status_code == 200
        assert gateway.provider.requests[0].body["tools"] == [{"max_uses": 10, **tool}]


FIELDS: list[dict[str, Any]] = [
    {"container": "container_1"}, {"mcp_servers": [{"type": "url", "url": "https://mcp.example", "name": "m"}]},
    {"context_management": {"edits": [{"type": "clear_tool_uses_20250919", "exclude_tools": ["f"]}]}},
    {"output_config": {"task_budget": {"type": "tokens", "total": 9000}}}, {"service_tier": "standard_only"},
    {"thinking": {"type": "adaptive", "display": "omitted"}}, {"stop_sequences": ["x"]}, {"top_k": 3},
    {"thinking": {"type": "between_tools"}},
    {"output_config": {"effort": "max"}},
]  # fmt: skip
BETAS = "context-management-2025-06-27, files-api-2025-04-14,computer-use-2025-11-24"


async def test_fields_of_the_format_reach_a_server_of_it(served: Serve) -> None:
    """What only servers of messages understand goes there as it was written, with what its header switches on."""
    turns = [{"role": "user", "content": "sea"}]
    async with served(upstream=messages) as gateway:
        for fields in FIELDS:
            body = {"model": "main", "max_tokens": 50, "messages": turns, **fields}
            sent = await gateway.http.post("/v1/messages", json=body, headers={"anthropic-beta": BETAS})
            assert sent.status_code == 200, sent.text
            request = gateway.provider.requests[-1]
            assert fields.items() <= request.body.items()
            assert request.headers["anthropic-beta"] == "context-management-2025-06-27,computer-use-2025-11-24"
            assert "betas" not in request.body


async def test_what_is_harmless_without_a_word_for_it_is_left_out_elsewhere(served: Serve) -> None:
    """A provider of another format gets the conversation, without the vendor's own ways to shorten or place it."""
    turns = [{"role": "user", "content": "sea"}]
    more = [
        {"context_management": {"edits": [{"type": "compact_20260112"}]}}, {"billing_policy": {"bill_to": "self"}},
        {"inference_geo": "global"}, {"diagnostics": {"previous_message_id": None}}, {"user_profile_id": "u"},
        {"workspace_id": "w"}, {"metadata": {"user_id": "u"}},
    ]  # fmt: skip
    async with served() as gateway:
        for fields in [*FIELDS[:5], *more]:
            body = {"model": "main", "max_tokens": 50, "messages": turns, **fields}
            sent = await gateway.http.post("/v1/messages", json=body, headers={"anthropic-beta": BETAS})
            assert sent.status_code == 200, sent.text
            assert gateway.provider.requests[-1].body.keys() <= {"model", "messages", "max_tokens"}


NATIVE: list[dict[str, Any]] = [
    SEARCH, {"type": "web_search_20260209", "name": "web_search", "max_uses": 1}, FETCH, CODE,
    {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
    {"type": "mcp_toolset", "mcp_server_name": "m"},
    {"type": "computer_20251124", "name": "computer", "display_width_px": 9, "display_height_px": 9},
    {"type": "bash_20250124", "name": "bash", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
]  # fmt: skip


async def test_tools_of_the_vendor_reach_it_as_they_are_and_nobody_else(served: Serve) -> None:
    """Each tool of Anthropic's goes to a server of its format; any other refuses it by name and says what to do."""
    async with served(upstream=messages, limits=Limits(tokens=10**6)) as gateway:
        for tool in NATIVE:
            body = {"model": "main", "max_tokens": 9, "tools": [tool], "messages": HI}
            sent = await gateway.http.post("/v1/messages", json=body)
            assert sent.status_code == 200, sent.text
            assert gateway.provider.requests[-1].body["tools"] == [tool]
    for api in ("chat", "responses"):
        async with served(api=api) as gateway:
            for tool in NATIVE:
                body = {
                    "model": "main",
                    "max_tokens": 9,
                    "tools": [tool],
                    "messages": [{"role": "user", "content": "x"}],
                }
                refused = await gateway.http.post("/v1/messages", json=body)
                assert refused.status_code == 400
                assert tool["type"] in refused.text
                assert "type: anthropic" in refused.text
            assert gateway.provider.requests == []


async def test_more_of_a_tool_than_a_function_has_reaches_the_vendor(served: Serve) -> None:
    """How a tool is found and by whom it is called is passed on where it is understood, and a function elsewhere."""
    own = {"name": "f", "input_schema": {"type": "object"}, "description": "", "defer_loading": True}
    own |= {"allowed_callers": ["direct"], "input_examples": [{"a": 1}], "eager_input_streaming": True}
    body = {"model": "main", "max_tokens": 9, "tools": [own], "messages": [{"role": "user", "content": "x"}]}
    async with served(upstream=messages) as gateway:
        assert (await gateway.http.post("/v1/messages", json=body)).status_code == 200
        assert gateway.provider.requests[-1].body["tools"] == [own]
    async with served() as gateway:
        assert (await gateway.http.post("/v1/messages", json=body)).status_code == 200
        assert gateway.provider.requests[-1].body["tools"][0]["function"].keys() == {
            "name",
            "description",
            "parameters",
        }


DOCUMENT = {
    "type": "document", "title": "t", "citations": {"enabled": True},
    "source": {"type": "text", "media_type": "text/plain", "data": "The sea is wet."},
}  # fmt: skip
LOCATED = {
    "type": "char_location", "cited_text": "wet", "document_index": 0, "document_title": "t", "start_char_index": 11,
    "end_char_index": 14,
}  # fmt: skip
READ_BY_IT: list[dict[str, Any]] = [
    DOCUMENT,
    {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "wet"}]},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "wet"}]}},
    {"type": "container_upload", "file_id": "f"},
]  # fmt: skip


async def test_documents_are_cited_where_the_provider_can(served: Serve) -> None:
    """A document to be cited, and what only Anthropic's models read, reach them as they are; others refuse it."""
    cited = [{"type": "text", "text": "It is wet", "citations": [LOCATED]}]
    async with served([answer_of(cited)], upstream=messages) as gateway:
        for block in READ_BY_IT:
            body = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
            sent = await gateway.http.post("/v1/messages", json=body)
            assert sent.json().get("content") == cited, sent.text
            assert gateway.provider.requests[-1].body["messages"][0]["content"] == [block]
            body["messages"] = [
                {"role": "user", "content": [{"type": "text", "text": "x"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [READ_BY_IT[1]]}]},
            ]
            assert (await gateway.http.post("/v1/messages", json=body)).status_code == 200
            inner = gateway.provider.requests[-1].body["messages"][2]["content"][0]["content"]
            assert inner == [READ_BY_IT[1]]
    async with served() as gateway:
        for block in READ_BY_IT:
            body = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
            refused = await gateway.http.post("/v1/messages", json=body)
            assert refused.status_code == 400
            assert "type: anthropic" in refused.text
        assert gateway.provider.requests == []


async def test_what_a_provider_says_beside_the_answer_is_kept(served: Serve) -> None:
    """The container to go on in, and which text of the client's has ended it, reach a client of the same format."""
    container = {"id": "container_1", "expires_at": "2030-01-01T00:00:00Z"}
    ended = answer_of(CONTENT[:1], container=container, stop_reason="stop_sequence", stop_sequence="x")
    async with served([ended], upstream=messages) as gateway:
        body = {"model": "main", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
        whole = (await gateway.http.post("/v1/messages", json=body)).json()
        assert (whole["container"], whole["stop_reason"], whole["stop_sequence"]) == (container, "stop_sequence", "x")
        streamed = (await gateway.http.post("/v1/messages", json=body | {"stream": True})).text
        assert '"stop_sequence":"x"' in streamed
        assert "container_1" in streamed
