"""The part of organism.yaml about programs from outside that speak to the daemon as to a model provider."""

from typing import Annotated, Literal

from msgspec import Meta

from organism.config.schema.limits import ThreadLimitsSection
from organism.config.schema.values import Count, Positive, Secret, Section


class GatewayKeySection(Section, frozen=True, kw_only=True):
    """An API key; its name is what calls are charged as, in the place of an agent."""

    key: Annotated[Secret | None, Meta(description="${env:NAME}; the key itself")] = None
    sha256: Annotated[
        Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None,
        Meta(description="instead of the key its hash, in hexadecimal"),
    ] = None
    thread: Annotated[
        str | None, Meta(description="the thread that pays where a request names none; one of its own unless given")
    ] = None
    fixed: Annotated[
        bool, Meta(description="whether that thread pays for all its requests, also where one names another")
    ] = False
    limits: Annotated[
        ThreadLimitsSection | None,
        Meta(description="of each thread opened for it; the gateway's where these are lower or it says nothing"),
    ] = None
    labels: Annotated[dict[str, str], Meta(description="of each thread opened for it")] = {}


class GatewaySection(Section, frozen=True, kw_only=True):
    """The gateway: programs that speak to OpenAI or Anthropic may speak to the daemon instead, and a thread pays."""

    preset: Annotated[
        Literal["coding"] | None,
        Meta(description="coding: limits, timeouts and warnings for coding agents, where the file says nothing else"),
    ] = None
    models: Annotated[list[str], Meta(description="of llm.models, those that are offered; all unless given")] = []
    keys: Annotated[dict[str, GatewayKeySection], Meta(description="API keys by name")] = {}
    tokens: Annotated[bool, Meta(description="whether the daemon's tokens with the scope 'send' are keys too")] = True
    limits: Annotated[
        ThreadLimitsSection | None,
        Meta(description="of each thread it opens; limits.thread unless given, with 5,000,000 tokens by default"),
    ] = None
    max_output_tokens: Annotated[Positive, Meta(description="the cap of an answer whose request has none")] = 4096
    inject_note: Annotated[
        bool, Meta(description="whether a note at the end of a request tells the model that a threshold was crossed")
    ] = False
    warn: Annotated[
        Literal["headers", "text"],
        Meta(description="where a person reads that a threshold was crossed; text: once in a line of an answer too"),
    ] = "headers"
    threads: Annotated[
        Positive, Meta(description="open threads of one key; then the one that was idle longest, for an hour, ends")
    ] = 1000
    calls_in_flight: Annotated[
        Positive, Meta(description="calls at a time that one thread pays for; further ones wait in their order")
    ] = 100
    keep_answers: Annotated[
        Count,
        Meta(description="answers of one key, with their requests, kept for previous_response_id; with 0 none is kept"),
    ] = 1000
    keep_days: Annotated[Positive, Meta(description="days for which they are kept at most")] = 30
