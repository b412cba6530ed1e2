"""From the configuration to the daemon's gateway, if there is one."""

from hashlib import sha256

from msgspec.structs import replace

from organism.amounts import Limits
from organism.config.build.limits import budget_plan, thread_limits
from organism.config.consistency import THREAD_TOKENS
from organism.config.load import LoadedConfig
from organism.config.presets import SESSION_TOKENS
from organism.config.schema.gateway import GatewayKeySection
from organism.config.schema.limits import ThreadLimitsSection
from organism.config.yaml.mistakes import Mistakes
from organism.gateway.settings import DEFAULT_TOKENS, Key, Settings


def gateway_settings(loaded: LoadedConfig) -> Settings | None:
    """Return how the gateway serves; ``None`` if there is none.

    Raises:
        ConfigError: If a key is empty, two are the same, or two share a thread and label it differently.
    """
    section = loaded.config.gateway
    if section is None:
        return None
    return Settings(
        models=tuple(section.models),
        keys=_keys(loaded, section.keys),
        tokens=section.tokens,
        limits=_limits(section.limits) or _default_limits(loaded),
        max_output_tokens=section.max_output_tokens,
        inject_note=section.inject_note,
        warn=section.warn,
        keep_answers=section.keep_answers,
        keep_days=section.keep_days,
        threads=section.threads,
    )


def _default_limits(loaded: LoadedConfig) -> Limits | None:
    """Return the limits of a thread where the gateway has none: a session of a program is no conversation of agents.

    A coding agent sends 30,000 tokens with each of its calls, so the usual default would end it after three.
    """
    if any(path in loaded.places for path in THREAD_TOKENS):
        return None
    preset = loaded.config.gateway.preset if loaded.config.gateway is not None else None
    tokens = DEFAULT_TOKENS if preset is None else SESSION_TOKENS[preset]
    return replace(budget_plan(loaded.config).thread, tokens=tokens)


def _keys(loaded: LoadedConfig, sections: dict[str, GatewayKeySection]) -> tuple[Key, ...]:
    mistakes = Mistakes()
    found: dict[str, Key] = {}
    first_of: dict[str, str] = {}
    for name, section in sections.items():
        with mistakes.kept():
            key = _key(loaded, name, section)
            if (same := found.setdefault(key.sha256, key)) is not key:
                loaded.fail(f"this is the key of {same.name!r} too", "gateway", "keys", name)
        if section.thread is not None:
            first = first_of.setdefault(section.thread, name)
            # A thread keeps the labels it was opened with: those of the key that comes first would pay for both.
            if sections[first].labels != section.labels:
                reason = f"the key {first!r} spends from the thread {section.thread!r} too, but has other labels"
                with mistakes.kept():
                    loaded.fail(reason, "gateway", "keys", name, "labels" if section.labels else "thread")
    mistakes.refuse()
    return tuple(found.values())


def _key(loaded: LoadedConfig, name: str, section: GatewayKeySection) -> Key:
    hashed = section.sha256 or ""
    if section.key is not None:
        if not section.key.reveal():
            loaded.fail("the key is empty, so it would let everybody in", "gateway", "keys", name, "key")
        hashed = sha256(section.key.reveal().encode()).hexdigest()
    return Key(
        name=name,
        sha256=hashed,
        thread=section.thread,
        fixed=section.fixed,
        limits=_limits(section.limits),
        labels=section.labels,
    )


def _limits(section: ThreadLimitsSection | None) -> Limits | None:
    return None if section is None else thread_limits(section)
