"""Each vendor's server is called as it wants to be, and its count of tokens comes out the same as everyone's."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from organism.amounts import TokenUsage
from organism.config.build.providers import price_kind
from organism.config.load import parse_config
from organism.config.schema.llm import OpenAIProviderSection, ProviderSection
from organism.errors import ConfigError, MissingExtraError
from organism.formats.vendors import VENDORS
from organism.llm.answers import Completion
from organism.llm.requests import ChatMessage, CompletionRequest, ResponseFormat
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep, ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
REQUEST = CompletionRequest(
    model="m",
    messages=(ChatMessage("user", "count"),),
    max_output_tokens=7,
    seed=3,
    reasoning_effort="low",
    response_format=ResponseFormat(SCHEMA),
)


async def exchange(
    vendor: str, usage: str | None = None, *, streamed: bool = False
) -> tuple[dict[str, Any], Completion]:
    """Call a vendor's adapter against our server; return what arrived there and what came back."""
    async with ScriptedHTTPProvider([HTTPStep(text="a b", usage=usage)]) as server:
        adapter = OpenAIProvider("p", "k", f"{server.url}/v1", vendor=vendor)
        answer = await adapter.complete(REQUEST, (lambda _piece: None) if streamed else None)
        await adapter.aclose()
    return server.requests[0].body, answer


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_vendor_gets_the_cap_and_says_usage(vendor: str) -> None:
    """The output cap goes out under the one name the vendor reads, and streams bring usage."""
    body, answer = await exchange(vendor, streamed=True)

    assert [body.get(name) for name in ("max_tokens", "max_completion_tokens") if name in body] == [7]
    assert VENDORS[vendor].cap in body
    assert answer.usage is not None


async def test_fields_a_vendor_would_refuse_are_not_sent() -> None:
    """Mistral refuses what it does not know; DeepSeek is asked for its schema in words."""
    mistral, _ = await exchange("mistral", streamed=True)
    deepseek, _ = await exchange("deepseek", streamed=True)

    assert not {"seed", "stream_options", "reasoning_effort"} & mistral.keys()
    assert mistral["random_seed"] == 3
    assert deepseek["response_format"] == {"type": "json_object"}
    assert '"integer"' in deepseek["messages"][0]["content"]


def counted(prompt: int, completion: int, total: int, **rest: object) -> str:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **rest}
    return json.dumps(usage)


THOUGHT = {"reasoning_tokens": 20}
USAGE = {
    # Cached tokens and reasoning inside their wholes.
    "openai": (
        counted(100, 50, 150, prompt_tokens_details={"cached_tokens": 60}, completion_tokens_details=THOUGHT),
        TokenUsage(input=40, cached_input=60, output=30, reasoning=20),
    ),
    # Reasoning beside the completion.
    "xai": (
        counted(100, 50, 170, completion_tokens_details=THOUGHT),
        TokenUsage(input=100, output=50, reasoning=20),
    ),
    # Reasoning named nowhere but in the total.
    "gemini": (counted(20, 198, 623), TokenUsage(input=20, output=198, reasoning=405)),
    # The cache under a name of its own.
    "deepseek": (
        counted(100, 5, 105, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36),
        TokenUsage(input=36, cached_input=64, output=5),
    ),
    # Writing to the cache, too.
    "openrouter": (
        counted(194, 2, 196, prompt_tokens_details={"cached_tokens": 30, "cache_write_tokens": 100}),
        TokenUsage(input=64, cached_input=30, cache_write=100, output=2),
    ),
}


@pytest.mark.parametrize("vendor", USAGE)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_usage_comes_out_in_disjoint_buckets(vendor: str, streamed: bool) -> None:
    """However a vendor counts, each token is in one bucket, and none is lost."""
    usage, expected = USAGE[vendor]
    _, answer = await exchange(vendor, usage, streamed=streamed)

    assert answer.usage == expected


@pytest.mark.parametrize(
    ("vendor", "usage", "cost"),
    [
        ("openrouter", '{"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.00014}', 140_000),
        ("openrouter", '{"prompt_tokens": 5, "completion_tokens": 2, "cost": 1}', 1_000_000_000),
        ("openrouter", '{"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.01, "is_byok": true}', None),
        ("openrouter", '{"prompt_tokens": 5, "completion_tokens": 2}', None),
        ("xai", '{"prompt_tokens": 5, "completion_tokens": 2, "cost_in_usd_ticks": 37756000}', 3_775_600),
        ("openai", '{"prompt_tokens": 5, "completion_tokens": 2, "cost": 9}', None),
    ],
)
async def test_cost_is_read_where_a_vendor_reports_it(vendor: str, usage: str, cost: int | None) -> None:
    """A reported cost is taken exactly, in the vendor's own unit, and from no one who does not report one."""
    _, answer = await exchange(vendor, usage)

    assert answer.cost_nanousd == cost


@pytest.mark.parametrize("bad", ["-0.1", "NaN", "1e400", '"free"', "true", "99999999999"])
async def test_insane_cost_is_disputed(bad: str) -> None:
    """A cost that is no sane amount of money makes the whole report unbelievable."""
    _, answer = await exchange("openrouter", f'{{"prompt_tokens": 5, "completion_tokens": 2, "cost": {bad}}}')

    assert answer.usage is None
    assert "cost" in str(answer.usage_error)


def test_every_vendor_is_a_type_of_provider() -> None:
    """What the table knows can be written in organism.yaml, and the other way round."""
    written = {
        section.__struct_config__.tag
        for section in get_args(ProviderSection)
        if issubclass(section, OpenAIProviderSection)
    }

    assert written == set(VENDORS)


def test_every_vendor_with_prices_is_in_the_price_data() -> None:
    """A vendor's id in the price data is one that they have."""
    from genai_prices import data_snapshot

    known = {provider.id for provider in data_snapshot.get_snapshot().providers}

    assert {vendor.prices_as for vendor in VENDORS.values()} - {"local"} <= known


def config(provider: str, environment: dict[str, str]) -> Any:
    from organism.config.build.spec import build

    text = (
        f"name: t\nentry: a\nllm:\n  providers:\n    p: {provider}\n  models: {{m: p/x}}\n"
        "agents:\n  a: {model: m, system: s}\n"
    )
    loaded = parse_config(text, "t.yaml", Path(), environment)
    return build(loaded, environment, lambda _line: None, None)


def test_key_is_taken_from_the_vendors_own_variable() -> None:
    """A vendor needs no more than its name; a missing key is named with file and line."""
    parts = config("{type: groq}", {"GROQ_API_KEY": "g"})

    assert parts.providers["p"]._api_key == "g"
    with pytest.raises(ConfigError, match=r"t\.yaml:5:[0-9]+: llm\.providers\.p: no API key: set XAI_API_KEY"):
        config("{type: xai}", {})


def test_vendors_key_does_not_leak_to_another_server() -> None:
    """A key from the environment goes to the vendor's own address alone."""
    elsewhere = "{type: groq, base_url: 'http://127.0.0.1:1/v1'}"

    assert config(elsewhere, {"GROQ_API_KEY": "g"}).providers["p"]._api_key == "none"


def test_server_elsewhere_has_no_vendors_prices() -> None:
    """Prices of a vendor, or none at all, stand only for the vendor's own server."""
    assert config("{type: ollama}", {}).provider_kinds["p"] == "local"
    assert config("{type: ollama, base_url: 'http://10.0.0.1/v1'}", {}).provider_kinds["p"] == "p"
    assert config("{type: xai}", {"XAI_API_KEY": "x"}).provider_kinds["p"] == "x-ai"
    azure = "{type: azure, base_url: 'https://r.openai.azure.com/openai/v1'}"
    assert config(azure, {"AZURE_OPENAI_API_KEY": "a"}).provider_kinds["p"] == "azure"
    assert price_kind("p", OpenAIProviderSection(base_url="http://x", prices_as="groq")) == "groq"


def test_azure_needs_an_address() -> None:
    """Who has no address of its own says so."""
    with pytest.raises(ConfigError, match="base_url"):
        config("{type: azure}", {"AZURE_OPENAI_API_KEY": "a"})


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the SDK the error says what to install."""
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=re.escape("install 'organism-runtime[openai]'")):
        OpenAIProvider("p", "k", vendor="groq")
