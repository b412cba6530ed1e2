"""The part of organism.yaml about models: where they are served, how they are routed and what they cost."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from organism.config.schema.values import Count, Percent, Positive, Seconds, Secret, Section, StrategyName


class TimeoutsSection(Section, frozen=True, kw_only=True):
    """How long a provider may take. What is given up after it was sent is charged, because it may have been billed."""

    connect_seconds: Annotated[Seconds, Meta(description="until the connection stands; nothing is charged")] = Decimal(
        10
    )
    first_token_seconds: Annotated[
        Positive | Literal["unlimited"], Meta(description="seconds until a streamed answer shows a sign of life")
    ] = 600
    between_tokens_seconds: Annotated[
        Positive | Literal["unlimited"], Meta(description="seconds a streamed answer may be silent")
    ] = 300
    call_seconds: Annotated[
        Seconds | None,
        Meta(description="a whole attempt; llm.call_timeout_seconds, and no end to a stream, unless given"),
    ] = None


class CircuitSection(Section, frozen=True, kw_only=True):
    """When a provider that fails is given a rest."""

    failures: Annotated[Positive, Meta(description="so many failures, if as many attempts fail as succeed")] = 5
    within_seconds: Annotated[Positive, Meta(description="within so many seconds")] = 30
    open_seconds: Annotated[Positive, Meta(description="seconds until one attempt may try it again")] = 30


class ServedSection(Section, frozen=True, kw_only=True):
    """How any provider is treated."""

    concurrency: Annotated[Positive | None, Meta(description="attempts at a time; as many as come unless given")] = None
    requests_per_minute: Annotated[
        Positive | None, Meta(description="attempts within any minute; of all nodes of a cluster")
    ] = None
    tokens_per_minute: Annotated[Positive | None, Meta(description="tokens within any minute, input and output")] = None
    timeouts: Annotated[TimeoutsSection, Meta(description="how long it may take")] = TimeoutsSection()
    circuit: Annotated[CircuitSection, Meta(description="when it is given a rest")] = CircuitSection()


class LocalProviderSection(ServedSection, frozen=True, kw_only=True, tag_field="type", tag="local"):
    """A model on this machine, run by llama.cpp; needs the extra 'local'."""

    model: Annotated[str, Meta(description="a known model, or the path of a GGUF file")] = "smollm2-135m"
    slots: Annotated[Positive, Meta(description="calls served at a time")] = 2
    context_tokens: Annotated[Positive, Meta(description="prompt and answer of one call together")] = 2048
    threads: Annotated[Positive | None, Meta(description="processor threads; half of the processors unless given")] = (
        None
    )


class ServerSection(ServedSection, frozen=True, kw_only=True):
    """What all servers have in common."""

    api_key: Annotated[
        Secret | None, Meta(description="${env:NAME}; the vendor's own variable, such as OPENAI_API_KEY, unless given")
    ] = None
    base_url: Annotated[
        str | None, Meta(description="the server as its page gives it, unless it is the vendor's own")
    ] = None
    proxy: Annotated[
        str | None,
        Meta(description="a proxy to go through, or 'none'; HTTPS_PROXY, NO_PROXY and the like unless given"),
    ] = None
    ca_file: Annotated[
        str | None,
        Meta(description="certificates to believe instead of the system's; SSL_CERT_FILE and the like unless given"),
    ] = None
    headers: Annotated[dict[str, str], Meta(description="sent with each request; a value may be ${env:NAME}")] = {}
    stops_when_closed: Annotated[
        bool | None,
        Meta(
            description="whether a stream that is closed is billed no further; known of some vendors, else not assumed"
        ),
    ] = None
    prices_as: Annotated[str | None, Meta(description="the provider's id in genai-prices, such as x-ai")] = None
    image_tokens: Annotated[
        Positive | None, Meta(description="the most tokens of an image; as published unless given")
    ] = None
    file_tokens: Annotated[
        Positive | None, Meta(description="the most tokens of a file that is not text; without it they are refused")
    ] = None


class OpenAIProviderSection(ServerSection, frozen=True, kw_only=True, tag_field="type", tag="openai"):
    """OpenAI, or any server that speaks its formats; needs the extra 'openai'."""

    api: Annotated[Literal["chat", "responses"], Meta(description="chat completions or responses")] = "chat"


class AzureProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="azure"):
    """OpenAI's models at Azure: base_url is https://RESOURCE.openai.azure.com/openai/v1; needs the extra 'openai'."""


class XAIProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="xai"):
    """xAI; needs the extra 'openai'."""


class GroqProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="groq"):
    """Groq; needs the extra 'openai'."""


class DeepSeekProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="deepseek"):
    """DeepSeek; needs the extra 'openai'."""


class MistralProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="mistral"):
    """Mistral; needs the extra 'openai'."""


class OpenRouterProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="openrouter"):
    """OpenRouter, which says what each call has cost; needs the extra 'openai'."""


class GeminiProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="gemini"):
    """Gemini's endpoint for OpenAI's format; needs the extra 'openai'."""


class OllamaProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="ollama"):
    """Ollama on this machine, or elsewhere with a base_url; needs the extra 'openai'."""


class VLLMProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="vllm"):
    """vLLM on this machine, or elsewhere with a base_url; needs the extra 'openai'."""


class LlamaCppProviderSection(OpenAIProviderSection, frozen=True, kw_only=True, tag="llamacpp"):
    """llama.cpp's own server on this machine, or elsewhere with a base_url; needs the extra 'openai'."""


class AnthropicProviderSection(ServerSection, frozen=True, kw_only=True, tag_field="type", tag="anthropic"):
    """Anthropic, or any server that speaks its messages; needs the extra 'anthropic'."""

    structured_outputs: Annotated[
        bool | None,
        Meta(description="whether it holds answers to JSON Schemas; only Anthropic's own is taken to unless given"),
    ] = None


class ScriptedProviderSection(ServedSection, frozen=True, kw_only=True, tag_field="type", tag="scripted"):
    """A double that answers from a list, for trying things out without a model."""

    answers: Annotated[list[str], Meta(description="given in turn, again and again", min_length=1)]


ProviderSection = (
    LocalProviderSection
    | OpenAIProviderSection
    | AzureProviderSection
    | XAIProviderSection
    | GroqProviderSection
    | DeepSeekProviderSection
    | MistralProviderSection
    | OpenRouterProviderSection
    | GeminiProviderSection
    | OllamaProviderSection
    | VLLMProviderSection
    | LlamaCppProviderSection
    | AnthropicProviderSection
    | ScriptedProviderSection
)


class DegradeSection(Section, frozen=True, kw_only=True):
    """Which model takes another's place when the budget runs low, in mode enforce."""

    at: Annotated[
        Percent | None,
        Meta(description="per cent of any limit of the call that must be spent; where thresholds say so unless given"),
    ] = None
    to: Annotated[str, Meta(description="another of llm.models, as a rule a cheaper one")]


class ModelSection(Section, frozen=True, kw_only=True):
    """A model with several places that serve it."""

    routes: Annotated[list[str], Meta(description="'provider/model', most wanted first", min_length=1)]
    strategy: Annotated[StrategyName | None, Meta(description="in which order routes are tried")] = None
    degrade: Annotated[
        DegradeSection | None, Meta(description="goes on with another model when the budget runs low")
    ] = None
    hedge_after_seconds: Annotated[
        Seconds | None, Meta(description="asks the next route too after so long; held and charged; never unless given")
    ] = None


class BackoffSection(Section, frozen=True, kw_only=True):
    """How long a provider that failed a call is left alone by it."""

    first_seconds: Annotated[Seconds, Meta(description="after the first failure; doubles with each")] = Decimal("0.5")
    max_seconds: Annotated[
        Seconds,
        Meta(description="at most, also when a provider asks for more; past all pauses it is left out"),
    ] = Decimal(30)


class PriceTierSection(Section, frozen=True, kw_only=True):
    """What changes in long calls, in dollars per million tokens; what is not given stays as it is."""

    above_input_tokens: Annotated[
        Positive, Meta(description="holds for all tokens of a call with more input than that")
    ]
    input: Annotated[Decimal | None, Meta(description="uncached input")] = None
    output: Annotated[Decimal | None, Meta(description="output")] = None
    cached_input: Annotated[Decimal | None, Meta(description="input read from a cache")] = None
    cache_write: Annotated[Decimal | None, Meta(description="input written to a cache")] = None
    reasoning: Annotated[Decimal | None, Meta(description="reasoning")] = None


class PriceSection(Section, frozen=True, kw_only=True):
    """Dollars per million tokens."""

    input: Annotated[Decimal, Meta(description="uncached input")]
    output: Annotated[Decimal, Meta(description="output")]
    cached_input: Annotated[Decimal | None, Meta(description="input read from a cache; as input unless given")] = None
    cache_write: Annotated[Decimal | None, Meta(description="input written to a cache; as input unless given")] = None
    reasoning: Annotated[Decimal | None, Meta(description="reasoning; as output unless given")] = None
    request: Annotated[Decimal, Meta(description="dollars for each request, beside its tokens")] = Decimal(0)
    tiers: Annotated[list[PriceTierSection], Meta(description="what changes in long calls, shortest first")] = []
    since: Annotated[date | None, Meta(description="the day these prices hold from, such as 2026-01-31")] = None
    tools: Annotated[
        dict[str, Decimal],
        Meta(
            description="dollars for each use of a tool that the vendor runs, such as web_search; its fee unless given"
        ),
    ] = {}


class LLMSection(Section, frozen=True, kw_only=True):
    """Models and how they are called."""

    providers: Annotated[dict[str, ProviderSection], Meta(description="where models are served")] = {}
    models: Annotated[
        dict[str, str | ModelSection],
        Meta(description="'provider/model', or routes; claude-*: anthropic/claude-* is any model that begins so"),
    ] = {}
    strategy: Annotated[StrategyName, Meta(description="for models with several routes")] = "failover"
    estimate: Annotated[
        Literal["tight", "strict"], Meta(description="how input is counted before a call; strict is a true bound")
    ] = "tight"
    min_output_tokens: Annotated[Positive, Meta(description="the shortest answer worth a call")] = 16
    call_timeout_seconds: Annotated[Positive, Meta(description="seconds an answer may take that comes whole")] = 600
    wait_seconds: Annotated[Count, Meta(description="seconds a call waits for its siblings' holds")] = 30
    attempts: Annotated[Positive, Meta(description="how often a rejected call is tried in all")] = 3
    retry: Annotated[
        Literal["rejected", "uncertain"],
        Meta(description="what is tried again: what was not charged, or timeouts and resets too, which were"),
    ] = "rejected"
    backoff: Annotated[BackoffSection, Meta(description="pauses between attempts at one provider")] = BackoffSection()
    deadline_seconds: Annotated[Positive, Meta(description="seconds a call may take with all attempts and pauses")] = (
        3600
    )
    unpriced: Annotated[
        Literal["refuse", "record"] | PriceSection,
        Meta(description="what a USD limit does with a model without a price; a price is what it is taken to cost"),
    ] = "refuse"
