"""What the gateway is told by a configuration."""

from pathlib import Path

import pytest

from organism import Limits
from organism.config.load import parse_config
from organism.daemon.gateway_settings import gateway_settings
from organism.gateway.settings import DEFAULT_TOKENS

BASE = """\
name: g
entry: a
llm: {providers: {s: {type: scripted, answers: [x]}}, models: {m: s/x}}
agents: {a: {model: m, system: x}}
"""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param("gateway: {}", Limits(tokens=DEFAULT_TOKENS), id="nothing"),
        pytest.param(
            "gateway: {}\nlimits: {thread: {usd: 1}}",
            Limits(tokens=DEFAULT_TOKENS, cost_nanousd=1_000_000_000),
            id="dollars of all threads",
        ),
        pytest.param("gateway: {}\nmax_tokens_per_thread: 500", None, id="tokens of all threads, short"),
        pytest.param("gateway: {}\nlimits: {max_tokens_per_thread: 500}", None, id="tokens of all threads"),
        pytest.param("gateway: {}\nlimits: {thread: {tokens: unlimited}}", None, id="no limit, said so"),
        pytest.param("gateway: {limits: {usd: 2}}", Limits(cost_nanousd=2_000_000_000), id="its own"),
    ],
)
def test_session_of_a_program_lasts_unless_somebody_has_set_its_limits(written: str, expected: Limits | None) -> None:
    """A coding agent is not over after three calls by a default that is meant for conversations of agents."""
    settings = gateway_settings(parse_config(f"{BASE}{written}\n", "organism.yaml", Path.cwd(), {}))
    assert settings is not None
    assert settings.limits == expected
