"""What a program under a budget finds in its environment: the gateway in the place of every vendor. Pure."""

from collections.abc import Container, Mapping, Sequence
from pathlib import PurePath

import msgspec

from organism.cli.programs.upstreams import UPSTREAMS

_HIDDEN = (
    "AWS_BEARER_TOKEN_BEDROCK",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_AD_TOKEN",
    "CEREBRAS_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "CODEX_API_KEY",
    "COHERE_API_KEY",
    "CO_API_KEY",
    "DASHSCOPE_API_KEY",
    "FIREWORKS_API_KEY",
    "GOOGLE_API_KEY",
    "MOONSHOT_API_KEY",
    "OPENAI_ADMIN_KEY",
    "PERPLEXITYAI_API_KEY",
    "PERPLEXITY_API_KEY",
    "TOGETHERAI_API_KEY",
    "TOGETHER_API_KEY",
    "ZAI_API_KEY",
)
"""Ways past the budget: keys of vendors that the gateway does not stand for, and switches that choose them."""

_OPENAI = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
_ANTHROPIC = ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE", "ANTHROPIC_API_URL")
_OTHER_KEYS = {"gemini": ("GOOGLE_API_KEY",)}

_PROXIES = ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy")


class Invocation(msgspec.Struct, frozen=True):
    """How a program is started.

    Attributes:
        command: The program and its arguments.
        environment: All its variables.
        hidden: Names of variables that are kept from it, and that nothing takes the place of.
    """

    command: tuple[str, ...]
    environment: dict[str, str]
    hidden: tuple[str, ...]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program is to ask.

    Attributes:
        url: The gateway's address, without ``/v1``.
        key: A key of it.
        model: The model that answers whatever is asked for, to be named by programs that need a name.
    """

    url: str
    key: str
    model: str | None = None


def invocation(
    command: Sequence[str], environment: Mapping[str, str], place: Place, known: Container[str] = ()
) -> Invocation:
    """Return how a program is started so that it finds the gateway where it looks for vendors.

    Args:
        command: The program and its arguments.
        environment: What it would be started with.
        place: The gateway.
        known: Names of variables that it may read from a file; those of vendors are set, which has the last word.
    """
    url, key, model = place.url, place.key, place.model
    program = PurePath(command[0]).name
    given = {name: value for name, value in environment.items() if name not in _HIDDEN}
    for name, upstream in UPSTREAMS.items():
        taken = {*upstream.keys, *upstream.addresses, *_OTHER_KEYS.get(name, ())}
        if name in ("openai", "anthropic") or any(variable in environment or variable in known for variable in taken):
            given |= dict.fromkeys(upstream.keys, key)
            given |= dict.fromkeys(upstream.addresses, f"{url}/v1")
    given |= dict.fromkeys(_OPENAI, f"{url}/v1")
    given |= dict.fromkeys(_ANTHROPIC, url)
    given |= {"ORGANISM_URL": url, "ORGANISM_KEY": key}
    if model is not None:
        plain = model.rpartition("/")[2]
        given = {"OPENAI_MODEL": plain, "AIDER_MODEL": f"openai/{plain}"} | given
    given |= _past_proxies(given)
    arguments, own = _peculiar(program, url, key, model)
    given |= own
    if program == "claude":
        del given["ANTHROPIC_API_KEY"]  # of two keys it would ask a person which is meant
    hidden = tuple(name for name in _HIDDEN if name in environment)
    return Invocation((command[0], *arguments, *command[1:]), given, hidden)


def _past_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a program from asking a proxy for this machine."""
    if not any(environment.get(name) for name in _PROXIES):
        return {}
    before = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    hosts = ",".join([*filter(None, [before]), "127.0.0.1", "localhost"])
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _peculiar(program: str, url: str, key: str, model: str | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return arguments and variables of programs that read none of the usual variables; see docs/CLIENTS.md."""
    match program:
        case "codex":
            provider = {"name": "organism", "base_url": f"{url}/v1", "env_key": "ORGANISM_KEY", "wire_api": "responses"}
            table = ",".join(f'{name}="{value}"' for name, value in provider.items())
            options = ['model_provider="organism"', f"model_providers.organism={{{table}}}"]
            options += [] if model is None else [f'model="{model.rpartition("/")[2]}"']
            return tuple(word for option in options for word in ("-c", option)), {}
        case "opencode":
            there = {"options": {"baseURL": f"{url}/v1", "apiKey": key}}
            config = {"provider": {"openai": there, "anthropic": there}}
            return (), {"OPENCODE_CONFIG_CONTENT": msgspec.json.encode(config).decode()}
        case "mini" | "mini-swe-agent" | "mini-extra":
            return (), {"MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1"}  # else it tries a spent budget again for minutes
        case _:
            return (), {}
