"""What is peculiar to each vendor of a server that speaks OpenAI's formats: one table. Pure.

Sources: each vendor's public API reference. Where a vendor's numbers do not add up, the rest of ``total_tokens`` counts
as reasoning: see :func:`organism.providers.counts.chat_usage`.
"""

from typing import Literal

import msgspec

from organism.errors import ConfigError

XAI_TICKS_PER_USD = 10_000_000_000
"""xAI reports costs in ticks of a ten thousand millionth of a dollar."""

CapField = Literal["max_tokens", "max_completion_tokens"]


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """How one vendor's server is called and how its answers are counted.

    Attributes:
        base_url: Where it is; ``None`` when every user has another address.
        key: The environment variable with the secret; ``None`` when the server needs none.
        prices_as: Its id in the price data; ``local`` costs nothing; ``None`` goes by the provider's name.
        cap: What it calls the output cap.
        cached: Where its usage says how many prompt tokens came from a cache.
        cache_write: Where its usage says how many were written to one.
        cached_inside: Whether those are part of the prompt's tokens.
        reasoning_inside: Whether reasoning is part of the completion's tokens.
        usage_on_request: Whether a stream carries usage only when ``stream_options`` asks; otherwise it always does,
            and the option may be refused.
        cost: Where its usage says what the call has cost; empty when it does not.
        cost_unit_per_usd: In which parts of a dollar it does.
        answers_in: ``schema``: it holds an answer to a JSON Schema; ``object``: only to being JSON.
        seed: What it calls the seed.
        effort: Whether it takes ``reasoning_effort``.
        reasoning_back: Whether it wants to see its reasoning again together with the results of tools.
        image_tokens: The most tokens of an image, by the beginning of the model's name, longest first; ``""`` is any
            other. Nothing there: nothing is published, and images are refused.
        embeds: Whether it serves embeddings.
        dimensions: What it calls the wanted length of a vector.
        tool_tokens: The most tokens of the instructions it adds when there are tools or a form of the answer.
    """

    base_url: str | None
    key: str | None
    prices_as: str | None
    cap: CapField = "max_tokens"
    cached: tuple[str, ...] = ("prompt_tokens_details", "cached_tokens")
    cache_write: tuple[str, ...] = ("prompt_tokens_details", "cache_write_tokens")
    cached_inside: bool = True
    reasoning_inside: bool = True
    usage_on_request: bool = True
    cost: tuple[str, ...] = ()
    cost_unit_per_usd: int = 1
    answers_in: Literal["schema", "object"] = "schema"
    seed: str = "seed"
    effort: bool = True
    reasoning_back: bool = False
    image_tokens: tuple[tuple[str, int], ...] = ()
    embeds: bool = True
    dimensions: str = "dimensions"
    tool_tokens: int = 600


_OPENAI_IMAGES = (
    ("gpt-4o-mini", 48_169),  # 2,833 and 5,667 for each of at most 8 tiles
    ("gpt-4o", 1_445),  # 85 and 170 for each of at most 8 tiles
    ("gpt-4.1", 3_779),  # 1,536 patches, times 2.46 for the dearest of the family
    ("", 12_000),  # 10,000 patches, times 1.2
)

COMPATIBLE = Vendor(base_url=None, key=None, prices_as=None)
"""A server of unknown make: what most of them do."""

VENDORS: dict[str, Vendor] = {
    "openai": Vendor(
        base_url="https://api.openai.com/v1",
        key="OPENAI_API_KEY",
        prices_as="openai",
        cap="max_completion_tokens",
        image_tokens=_OPENAI_IMAGES,
    ),
    "azure": Vendor(
        base_url=None,
        key="AZURE_OPENAI_API_KEY",
        prices_as="azure",
        cap="max_completion_tokens",
        image_tokens=_OPENAI_IMAGES,
    ),
    "xai": Vendor(
        base_url="https://api.x.ai/v1",
        key="XAI_API_KEY",
        prices_as="x-ai",
        cap="max_completion_tokens",
        reasoning_inside=False,
        cost=("cost_in_usd_ticks",),
        cost_unit_per_usd=XAI_TICKS_PER_USD,
        image_tokens=(("", 1_792),),  # 256 for each of at most 6 tiles and the whole
    ),
    "groq": Vendor(
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
        prices_as="groq",
        cap="max_completion_tokens",
        embeds=False,
    ),
    "deepseek": Vendor(
        base_url="https://api.deepseek.com/v1",
        key="DEEPSEEK_API_KEY",
        prices_as="deepseek",
        cached=("prompt_cache_hit_tokens",),
        answers_in="object",
        effort=False,
        reasoning_back=True,
        embeds=False,
    ),
    "mistral": Vendor(
        base_url="https://api.mistral.ai/v1",
        key="MISTRAL_API_KEY",
        prices_as="mistral",
        usage_on_request=False,
        seed="random_seed",
        effort=False,
        dimensions="output_dimension",
        image_tokens=(("", 4_160),),  # 64 x 64 patches and an end for each row
    ),
    "openrouter": Vendor(
        base_url="https://openrouter.ai/api/v1", key="OPENROUTER_API_KEY", prices_as="openrouter", cost=("cost",)
    ),
    "gemini": Vendor(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key="GEMINI_API_KEY",
        prices_as="google",
        reasoning_inside=False,
        image_tokens=(("", 4_128),),  # 258 for each of at most 16 tiles
    ),
    "ollama": Vendor(base_url="http://127.0.0.1:11434/v1", key=None, prices_as="local"),
    "vllm": Vendor(base_url="http://127.0.0.1:8000/v1", key=None, prices_as="local"),
    "llamacpp": Vendor(base_url="http://127.0.0.1:8080/v1", key=None, prices_as="local"),
}


def vendor_of(name: str) -> Vendor:
    """Return a vendor's peculiarities.

    Raises:
        ConfigError: If there is none of that name.
    """
    try:
        return VENDORS[name]
    except KeyError:
        raise ConfigError(f"no vendor is called {name!r}; there are: {', '.join(VENDORS)}") from None
