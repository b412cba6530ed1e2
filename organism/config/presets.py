"""Sets of settings that suit a use: what people find out in a week. What the file says itself always wins. Pure."""

from typing import Any

from msgspec.structs import replace

from organism.config.schema.root import Config
from organism.config.yaml.mistakes import Path_, TextPlace

PRESETS: dict[str, dict[Path_, Any]] = {
    "coding": {
        # Their own caps are between 8,000 and 64,000; a client that sends none must not be cut in the middle of a file.
        ("gateway", "max_output_tokens"): 32_000,
        # None of them shows a header.
        ("gateway", "warn"): "text",
        # They keep their conversations themselves, or refer to the last few answers.
        ("gateway", "keep_answers"): 200,
        # Agents of one session ask side by side and wait for each other's holds, and each asks for long.
        ("llm", "wait_seconds"): 120,
        ("llm", "call_timeout_seconds"): 1800,
    }
}
"""What each preset says, by the path of the setting."""


SESSION_TOKENS = {"coding": 20_000_000}
"""What a preset limits a thread of the gateway to where the file limits no tokens: a day of a coding agent."""


def applied(config: Config, places: dict[Path_, TextPlace]) -> Config:
    """Return a configuration with what its preset says where the file says nothing.

    Args:
        places: Where what the file says stands.
    """
    if config.gateway is None or config.gateway.preset is None:
        return config
    for path, value in PRESETS[config.gateway.preset].items():
        if path not in places:
            config = _with(config, path, value)
    return config


def gateway_in_force(config: Config) -> list[tuple[str, str]]:
    """Return a row for each setting that a preset may change: where it stands, and what it is."""
    if config.gateway is None:
        return []
    rows: list[tuple[str, str]] = [("gateway.preset", config.gateway.preset or "none")]
    for path in PRESETS["coding"]:
        value: Any = config
        for name in path:
            value = getattr(value, str(name))
        rows.append((".".join(map(str, path)), str(value)))
    return rows


def _with(section: Any, path: Path_, value: object) -> Any:
    name, *rest = path
    inner = value if not rest else _with(getattr(section, str(name)), tuple(rest), value)
    return replace(section, **{str(name): inner})
