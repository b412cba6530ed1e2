"""From the configuration to the daemon's gateway, if there is one."""

from hashlib import sha256

from organism.amounts import Limits
from organism.config.build import thread_limits
from organism.config.load import LoadedConfig
from organism.config.schema_gateway import GatewayKeySection
from organism.config.schema_limits import ThreadLimitsSection
from organism.gateway.settings import Key, Settings


def gateway_settings(loaded: LoadedConfig) -> Settings | None:
    """Return how the gateway serves; ``None`` if there is none.

    Raises:
        ConfigError: If a key is empty, or two are the same.
    """
    section = loaded.config.gateway
    if section is None:
        return None
    return Settings(
        models=tuple(section.models),
        keys=_keys(loaded, section.keys),
        tokens=section.tokens,
        limits=_limits(section.limits),
        max_output_tokens=section.max_output_tokens,
        inject_note=section.inject_note,
        threads=section.threads,
    )


def _keys(loaded: LoadedConfig, sections: dict[str, GatewayKeySection]) -> tuple[Key, ...]:
    found: dict[str, Key] = {}
    for name, section in sections.items():
        hashed = section.sha256 or ""
        if section.key is not None:
            if not section.key.reveal():
                loaded.fail("the key is empty, so it would let everybody in", "gateway", "keys", name, "key")
            hashed = sha256(section.key.reveal().encode()).hexdigest()
        if hashed in found:
            loaded.fail(f"this is the key of {found[hashed].name!r} too", "gateway", "keys", name)
        limits = _limits(section.limits)
        found[hashed] = Key(name=name, sha256=hashed, thread=section.thread, limits=limits, labels=section.labels)
    return tuple(found.values())


def _limits(section: ThreadLimitsSection | None) -> Limits | None:
    return None if section is None else thread_limits(section)
