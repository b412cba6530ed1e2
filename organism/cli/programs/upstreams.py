"""Which vendors does an environment have keys of? Read as a configuration that serves whatever name is asked for. Pure.

The keys stay in the environment: the configuration names the variables.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from organism.formats.vendors import VENDORS

LOCAL_MODEL = "local/smollm2-135m"
"""What answers where no vendor's key is found."""

OUTPUT_TOKENS, OUTPUT_TOKENS_LOCAL = 16_000, 512
"""Caps of answers whose requests have none: below what every current model of a vendor may write, and a part of the
2,048 tokens of context that the local one has."""

RESPONSES = "openai-responses"
"""Begins where OpenAI's other format is spoken: some of its models have only one of the two."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """A vendor, and which variables lead to it.

    Attributes:
        type: The type of its provider.
        keys: Variables that hold its key, the first that is set is taken.
        addresses: Variables that hold the address of a server in its place.
        models: How the names of its models begin.
        bearer: Those of the keys that go as ``Authorization`` too.
    """

    type: str
    keys: tuple[str, ...]
    addresses: tuple[str, ...]
    models: tuple[str, ...] = ()
    bearer: tuple[str, ...] = ()


def _compatible(name: str, *models: str) -> Upstream:
    start = name.upper()
    addresses = (f"{start}_BASE_URL", f"{start}_API_BASE")
    return Upstream(type=name, keys=(str(VENDORS[name].key),), addresses=addresses, models=models)


UPSTREAMS: dict[str, Upstream] = {
    "openai": _compatible(
        "openai",
        "gpt-",
        "chatgpt-",
        "o1",
        "o3",
        "o4",
        "codex-",
        "computer-use",
        "text-embedding-",
        "davinci",
        "babbage",
    ),
    "openrouter": _compatible("openrouter"),
    "anthropic": Upstream(
        type="anthropic",
        keys=("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        addresses=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_API_URL"),
        models=("claude-",),
        bearer=("ANTHROPIC_AUTH_TOKEN",),
    ),
    "groq": _compatible("groq"),
    "mistral": _compatible(
        "mistral", "mistral-", "codestral-", "ministral-", "magistral-", "devstral-", "pixtral-", "open-mi"
    ),
    "deepseek": _compatible("deepseek", "deepseek-"),
    "xai": _compatible("xai", "grok-"),
    "gemini": _compatible("gemini", "gemini-"),
}
"""Vendors by their providers' names; the first with a key gets what no other one's names begin like."""

_RESPONSES_FIRST = ("gpt-5", "codex-")
"""Prefixes of models that work best, or only, with the Responses API."""


def found(environment: Mapping[str, str]) -> dict[str, Upstream]:
    """Return the vendors that an environment leads to: with a key, or with the address of a server that needs none."""
    return {
        name: upstream
        for name, upstream in UPSTREAMS.items()
        if _first(environment, upstream.keys) or _first(environment, upstream.addresses)
    }


def configuration(environment: Mapping[str, str], model: str | None) -> str:
    """Write a configuration whose gateway serves every name that a program may ask for.

    Args:
        environment: Where keys are looked for.
        model: What answers, whatever the name: ``provider/model``, or a vendor's name for it; by the name unless given.
    """
    upstreams = found(environment)
    providers = {name: section for each in upstreams for name, section in _providers(each, environment)}
    models = {"*": _routes(upstreams, model)} if model else dict(_models(upstreams))
    local = next((routes[0] for routes in models.values() if routes[0].startswith("local/")), None)
    if local is not None:
        providers["local"] = {"type": "local", "model": local.partition("/")[2]}
    config = {
        "name": "exec",
        "entry": "nobody",
        "agents": {"nobody": {"handler": "organism.cli.programs.nobody:nobody"}},
        "llm": {
            "providers": providers,
            "models": {name: routes[0] if len(routes) == 1 else {"routes": routes} for name, routes in models.items()},
        },
        "gateway": {
            "preset": "coding",
            "warn": "headers",
            "max_output_tokens": OUTPUT_TOKENS if local is None else OUTPUT_TOKENS_LOCAL,
        },
    }
    return "# What 'organism exec' has found in its environment.\n" + "".join(
        f"{key}: {msgspec.json.encode(value).decode()}\n" for key, value in config.items()
    )


def _providers(name: str, environment: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    upstream = UPSTREAMS[name]
    section: dict[str, Any] = {"type": upstream.type}
    if key := _first(environment, upstream.keys):
        section["api_key"] = f"${{env:{key}}}"
    if key in upstream.bearer:
        section["headers"] = {"authorization": f"Bearer ${{env:{key}}}"}
    if address := _first(environment, upstream.addresses):
        # A server in the vendor's place costs what the vendor does, unless somebody knows better.
        prices = VENDORS[name].prices_as if name in VENDORS else name
        section |= {"base_url": f"${{env:{address}}}", "prices_as": prices}
    yield name, section
    if name == "openai":
        yield RESPONSES, section | {"api": "responses", "prices_as": "openai"}


def _models(upstreams: Mapping[str, Upstream]) -> Iterator[tuple[str, list[str]]]:
    """Yield patterns and where they lead, each name with the vendor before it too, as some programs write them."""
    for name, upstream in upstreams.items():
        for start in (*upstream.models, *(_RESPONSES_FIRST if name == "openai" else ())):
            yield f"{start}*", _routes_at(name, f"{start}*")
        yield f"{name}/*", _routes_at(name, "*")
    yield "*", _routes_at(next(iter(upstreams)), "*") if upstreams else [LOCAL_MODEL]


def _routes(upstreams: Mapping[str, Upstream], model: str) -> list[str]:
    """Return where one model is served: at the vendor it names, or whose names begin so, or at the first there is."""
    provider, slash, served = model.partition("/")
    if slash and (provider == "local" or provider in upstreams):
        return _routes_at(provider, served)
    makers = (name for name, upstream in upstreams.items() if model.startswith(upstream.models))
    at = next(makers, next(iter(upstreams), None))
    return [LOCAL_MODEL] if at is None else _routes_at(at, model)


def _routes_at(provider: str, model: str) -> list[str]:
    if provider != "openai":
        return [f"{provider}/{model}"]
    routes = [f"{provider}/{model}", f"{RESPONSES}/{model}"]
    return routes[::-1] if model.startswith(_RESPONSES_FIRST) else routes


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if environment.get(name, "").strip()), None)
