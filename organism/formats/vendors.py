"""The quirks of each vendor whose server speaks OpenAI's formats: one table. Pure.

Sources: each vendor's public API reference. Where a vendor's numbers do not add up, the rest of ``total_tokens`` counts
as reasoning: see :mod:`organism.formats.counts`.
"""

from typing import Any, Literal

import msgspec

from organism.errors import ConfigError
from organism.formats.conversation import ANY_ID, IdRule
from organism.formats.media.attachments import ImageRule
from organism.formats.own_fields import CACHE_KEYS, LLAMA_CPP, OPENROUTER, UNKNOWN_MAKE, VLLM

XAI_TICKS_PER_USD = 10_000_000_000
"""xAI reports costs in ticks: ten thousand million of them are a dollar."""

CapField = Literal["max_tokens", "max_completion_tokens"]


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """The quirks of one vendor's server.

    Attributes:
        base_url: Its address; ``None`` if every user has another one.
        key: The environment variable with the API key; ``None`` if the server needs none.
        prices_as: Its id in the price data; ``local`` costs nothing; ``None`` goes by the provider's name.
        cap: The name of the field for the output cap.
        cached_inside: Whether tokens read from or written to a cache are part of the prompt's tokens.
        reasoning_inside: Whether reasoning is part of the completion's tokens.
        counts_known: Whether the two above are documented; if not, the total or the larger reading decides.
        usage_on_request: Whether a stream carries usage only when ``stream_options`` asks; otherwise it always does,
            and the option may be refused.
        cost: The path of the reported cost in the usage object; empty if it reports none.
        cost_unit_per_usd: How many units of that cost are a dollar.
        answers_in: ``schema``: it enforces a JSON Schema; ``object``: it enforces only that the answer is JSON.
        seed: The name of the field for the seed.
        effort: Whether it takes ``reasoning_effort``.
        own_fields: Fields that it takes beyond the common ones; see :mod:`organism.formats.own_fields`.
        reasoning_back: When it wants to see the text of its reasoning again.
        takes_back: Its own fields of calls and messages that it wants back unchanged.
        call_without_seal: Fields added to calls of other vendors' models, for a server that wants a seal on each.
        images: The most tokens of an image, longest model names first. Empty: nothing is published, and images are
            refused.
        embeds: Whether it serves embeddings.
        dimensions: The name of the field for the wanted length of a vector.
        call_ids: The call ids that it takes.
        vectors: The form in which vectors are asked for: base64 where it supports that, else numbers.
        stops_when_closed: Whether it is known to stop working, and billing, when a stream is closed.
        key_header: The header for the API key: ``authorization`` as a bearer, or one of its own.
        tiers: Whether it takes ``service_tier``.
        custom_tools: Whether it takes custom tools, whose input is free text.
        counts: The format of its endpoint that counts input for free; ``None`` if it has none.
        tool_tokens: The most tokens of instructions that it adds for tools or a response format.
    """

    base_url: str | None
    key: str | None
    prices_as: str | None
    cap: CapField = "max_tokens"
    cached_inside: bool = True
    reasoning_inside: bool = True
    counts_known: bool = True
    usage_on_request: bool = True
    cost: tuple[str, ...] = ()
    cost_unit_per_usd: int = 1
    answers_in: Literal["schema", "object"] = "schema"
    seed: str = "seed"
    effort: bool = True
    own_fields: frozenset[str] = frozenset()
    reasoning_back: Literal["never", "with calls", "always"] = "never"
    takes_back: tuple[str, ...] = ()
    call_without_seal: dict[str, Any] = {}
    images: tuple[ImageRule, ...] = ()
    embeds: bool = True
    dimensions: str = "dimensions"
    call_ids: IdRule = ANY_ID
    vectors: Literal["base64", "float"] = "float"
    key_header: Literal["authorization", "api-key"] = "authorization"
    stops_when_closed: bool = False
    tiers: bool = False
    custom_tools: bool = False
    counts: Literal["responses", "messages"] | None = None
    tool_tokens: int = 600


_TILES_OR_PATCHES = {"most": 3_779, "low": 630}
"""1,536 patches or 256, times 2.46; where tiles are counted they come to less: at most 85 and 8 times 170."""

_PATCHES = {"most": 73_800, "low": 630, "high": 6_150, "patch": 32, "patch_permille": 2_460}
"""Times 2.46, the dearest family's: 30,000 patches of 32 pixels, above which an image is refused; 256 with low detail;
2,500 with high. Some of these models take fewer, but GPT-5.6 makes no image smaller of its own accord."""

_OPENAI_IMAGES = (
    ImageRule(models="gpt-4o-mini", most=48_169, low=2_833),  # 2,833 and 5,667 for each of at most 8 tiles
    ImageRule(models="gpt-4o", most=1_445, low=85),  # 85 and 170 for each of at most 8 tiles
    *(ImageRule(models=start, **_PATCHES) for start in ("gpt-5.", "gpt-6")),
    *(ImageRule(models=start, **_TILES_OR_PATCHES) for start in ("gpt-4", "gpt-5", "o1", "o3", "o4", "computer-use")),
    ImageRule(most=73_800, low=2_833, high=48_169),  # the name of a fine-tuned or deployed model says nothing
)
"""Source: "Images and vision", the guide to OpenAI's API, with its limits, sizing behaviour and multipliers."""

_SEALED = ("extra_content", "reasoning_details")

COMPATIBLE = Vendor(
    base_url=None,
    key=None,
    prices_as=None,
    counts_known=False,
    reasoning_back="with calls",
    takes_back=_SEALED,
    own_fields=UNKNOWN_MAKE,
    tiers=True,
)
"""A server of unknown make: what most of them do. Its own fields are sent back, and beside tool calls the text of its
reasoning: Moonshot's, Zhipu's and DeepSeek's models continue it, or refuse to go on without it."""

VENDORS: dict[str, Vendor] = {
    "openai": Vendor(
        stops_when_closed=True,
        tiers=True,
        custom_tools=True,
        own_fields=CACHE_KEYS,
        counts="responses",
        base_url="https://api.openai.com/v1",
        key="OPENAI_API_KEY",
        prices_as="openai",
        cap="max_completion_tokens",
        vectors="base64",
        images=_OPENAI_IMAGES,
    ),
    "azure": Vendor(
        stops_when_closed=True,
        tiers=True,
        custom_tools=True,
        base_url=None,
        key="AZURE_OPENAI_API_KEY",
        prices_as="azure",
        cap="max_completion_tokens",
        key_header="api-key",
        vectors="base64",
        images=_OPENAI_IMAGES,
    ),
    "xai": Vendor(
        base_url="https://api.x.ai/v1",
        key="XAI_API_KEY",
        prices_as="x-ai",
        cap="max_completion_tokens",
        reasoning_inside=False,
        cost=("cost_in_usd_ticks",),
        cost_unit_per_usd=XAI_TICKS_PER_USD,
        images=(ImageRule(most=1_792),),  # 256 for each of at most 6 tiles and the whole
    ),
    "groq": Vendor(
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
        prices_as="groq",
        cap="max_completion_tokens",
        embeds=False,
        own_fields=frozenset({"include_reasoning", "reasoning_format"}),
    ),
    "deepseek": Vendor(
        base_url="https://api.deepseek.com/v1",
        key="DEEPSEEK_API_KEY",
        prices_as="deepseek",
        answers_in="object",
        effort=False,
        reasoning_back="always",
        embeds=False,
        own_fields=frozenset({"thinking"}),
    ),
    "mistral": Vendor(
        base_url="https://api.mistral.ai/v1",
        key="MISTRAL_API_KEY",
        prices_as="mistral",
        usage_on_request=False,
        seed="random_seed",
        call_ids=IdRule(kept="A-Za-z0-9", most=9, exact=True),
        effort=False,
        dimensions="output_dimension",
        images=(ImageRule(most=4_160),),  # 64 x 64 patches and an end for each row; newer models have 55 x 55
    ),
    "openrouter": Vendor(
        stops_when_closed=True,
        base_url="https://openrouter.ai/api/v1",
        key="OPENROUTER_API_KEY",
        prices_as="openrouter",
        tiers=True,
        own_fields=OPENROUTER,
        cost=("cost",),
        takes_back=_SEALED,
    ),
    "gemini": Vendor(
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        key="GEMINI_API_KEY",
        prices_as="google",
        reasoning_inside=False,
        takes_back=("extra_content",),
        own_fields=frozenset({"extra_body"}),
        # Source: "Thought signatures", the guide to Gemini's API: what to send with a call from elsewhere.
        call_without_seal={"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
        # 258 for each tile. An image of at most 3,072 x 3,072 pixels is cut into tiles of two thirds of its shorter
        # side, from 256 to 768 pixels: 24 of them for 3,072 x 385. Gemini 3 takes at most 2,240.
        images=(ImageRule(most=6_192),),
    ),
    "ollama": Vendor(
        stops_when_closed=True,
        base_url="http://127.0.0.1:11434/v1",
        key=None,
        prices_as="local",
        own_fields=frozenset({"top_k"}),
    ),
    "vllm": Vendor(
        stops_when_closed=True,
        base_url="http://127.0.0.1:8000/v1",
        key=None,
        prices_as="local",
        own_fields=VLLM,
        counts="messages",
    ),
    "llamacpp": Vendor(
        stops_when_closed=True,
        base_url="http://127.0.0.1:8080/v1",
        key=None,
        prices_as="local",
        vectors="base64",
        own_fields=LLAMA_CPP,
        counts="messages",
    ),
}


def vendor_of(name: str) -> Vendor:
    """Return the quirks of a vendor.

    Raises:
        ConfigError: If no vendor has that name.
    """
    try:
        return VENDORS[name]
    except KeyError:
        raise ConfigError(f"no vendor is called {name!r}; there are: {', '.join(VENDORS)}") from None
