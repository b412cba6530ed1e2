"""What the gateway is told by a configuration."""

from pathlib import Path

import pytest

from organism import Limits
from organism.config.load import parse_config
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import ConfigError
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


CODING = "gateway: {preset: coding"


@pytest.mark.parametrize(
    ("written", "setting", "expected"),
    [
        (f"{CODING}}}", "warn", "text"),
        (f"{CODING}, warn: headers}}", "warn", "headers"),
        (f"{CODING}}}", "max_output_tokens", 32_000),
        (f"{CODING}, max_output_tokens: 4096}}", "max_output_tokens", 4096),
        (f"{CODING}, keep_answers: 0}}", "keep_answers", 0),
        (f"{CODING}}}", "limits", Limits(tokens=20_000_000)),
        (f"{CODING}, limits: {{usd: 2}}}}", "limits", Limits(cost_nanousd=2_000_000_000)),
        (f"{CODING}}}\nmax_tokens_per_thread: 500", "limits", None),
        (f"{CODING}}}\nlimits: {{thread: {{usd: 1}}}}", "limits", Limits(tokens=20_000_000, cost_nanousd=10**9)),
        ("gateway: {}", "warn", "headers"),
    ],
)
def test_preset_gives_way_to_what_the_file_says(written: str, setting: str, expected: object) -> None:
    """One word is enough for a coding agent, and each of its settings can be said otherwise."""
    settings = gateway_settings(parse_config(f"{BASE}{written}\n", "organism.yaml", Path.cwd(), {}))
    assert getattr(settings, setting) == expected


def test_preset_reaches_what_stands_outside_the_gateway() -> None:
    """Waiting and timeouts of calls suit it too, unless the file has its own."""
    both = [
        parse_config(f"{base}{CODING}}}\n", "organism.yaml", Path.cwd(), {}).config
        for base in (BASE, BASE.replace("llm: {", "llm: {wait_seconds: 3, "))
    ]
    assert [(each.llm.wait_seconds, each.llm.call_timeout_seconds) for each in both] == [(120, 1800), (3, 1800)]


def test_preset_that_does_not_exist_is_named_with_its_line() -> None:
    """A typo says where it stands and what there is."""
    with pytest.raises(ConfigError, match=r"organism\.yaml:5.*preset.*coding"):
        parse_config(f"{BASE}gateway: {{preset: codign}}\n", "organism.yaml", Path.cwd(), {})
