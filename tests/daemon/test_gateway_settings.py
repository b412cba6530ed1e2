"""What the configuration says of the gateway's keys: two that contradict each other are refused."""

from pathlib import Path

import pytest

from organism.config.load import parse_config
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import ConfigError

MODELS = "llm: {providers: {fake: {type: ollama}}, models: {main: fake/m}}"
AGENTS = "agents: {writer: {model: main}}"


def keys(first: str, second: str) -> str:
    """Write a configuration with the keys ``b`` and ``a``, the latter in its eighth line."""
    lines = [f"    {name}: {{key: '${{env:{name.upper()}}}', {said}}}" for name, said in (("b", second), ("a", first))]
    return "\n".join(("name: desk", "entry: writer", MODELS, AGENTS, "gateway:", "  keys:", *lines))


SHARED = "thread: purse, fixed: true"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{SHARED}, labels: {{tenant: acme}}", f"{SHARED}, labels: {{tenant: bob}}"),
        (f"{SHARED}, labels: {{tenant: acme}}", SHARED),
        (SHARED, f"{SHARED}, labels: {{tenant: acme}}"),
        ("thread: purse, labels: {tenant: acme}", "thread: purse, labels: {tenant: acme, team: blue}"),
        ("thread: purse, labels: {tenant: acme}", f"{SHARED}, labels: {{team: acme}}"),
    ],
)
def test_keys_that_label_one_thread_differently_are_refused(first: str, second: str) -> None:
    """Two keys with one thread have the same labels: else a tenant's spend would count for whoever asked first."""
    loaded = parse_config(keys(first, second), "organism.yaml", Path.cwd(), {"A": "one", "B": "two"})

    with pytest.raises(ConfigError, match=r"organism.yaml:8:[0-9]+: .*'b' spends from the thread 'purse' too"):
        gateway_settings(loaded)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (f"{SHARED}, labels: {{a: '1', b: '2'}}", f"{SHARED}, labels: {{b: '2', a: '1'}}"),
        (f"{SHARED}, labels: {{tenant: acme}}", "thread: other, labels: {tenant: bob}"),
        ("labels: {tenant: acme}", "labels: {tenant: bob}"),
    ],
)
def test_keys_that_agree_or_share_nothing_are_taken(first: str, second: str) -> None:
    """One thread with the same labels, and other labels with other threads, are what keys are for."""
    loaded = parse_config(keys(first, second), "organism.yaml", Path.cwd(), {"A": "one", "B": "two"})

    settings = gateway_settings(loaded)

    assert settings is not None
    assert [key.name for key in settings.keys] == ["b", "a"]
