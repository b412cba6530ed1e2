"""Which vendor answers which name, by what is in the environment."""

from pathlib import Path

import pytest

from organism.cli.programs.upstreams import configuration, found
from organism.config.build.router import model_plans
from organism.config.load import LoadedConfig, parse_config
from organism.router.planning.plan import ModelPlans

OPENAI = {"OPENAI_API_KEY": "sk-one"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "sk-two"}


def loaded(environment: dict[str, str], model: str | None = None) -> LoadedConfig:
    text = configuration(environment, model)
    assert not any(value in text for value in environment.values() if value.startswith("sk-"))
    return parse_config(text, "made", Path(), environment)


@pytest.mark.parametrize(
    ("environment", "model", "asked", "routes"),
    [
        ({}, None, "gpt-4o", ["local/smollm2-135m"]),
        ({"OPENAI_API_KEY": " "}, None, "claude-opus-4", ["local/smollm2-135m"]),
        ({}, "local/smollm2-360m", "gpt-4o", ["local/smollm2-360m"]),
        (OPENAI, "local/smollm2-135m", "gpt-4o", ["local/smollm2-135m"]),
        (OPENAI, None, "gpt-4o", ["openai/gpt-4o", "openai-responses/gpt-4o"]),
        (OPENAI, None, "gpt-5.1-codex", ["openai-responses/gpt-5.1-codex", "openai/gpt-5.1-codex"]),
        (OPENAI, None, "a-new-one", ["openai/a-new-one", "openai-responses/a-new-one"]),
        (OPENAI, "gpt-5-mini", "claude-opus-4", ["openai-responses/gpt-5-mini", "openai/gpt-5-mini"]),
        (OPENAI | ANTHROPIC, None, "claude-opus-4", ["anthropic/claude-opus-4"]),
        (OPENAI | ANTHROPIC, None, "anthropic/claude-opus-4", ["anthropic/claude-opus-4"]),
        (OPENAI | ANTHROPIC, "claude-opus-4", "gpt-4o", ["anthropic/claude-opus-4"]),
        (ANTHROPIC, None, "gpt-4o", ["anthropic/gpt-4o"]),
        ({"ANTHROPIC_AUTH_TOKEN": "sk-3", "ANTHROPIC_BASE_URL": "http://h"}, None, "claude-x", ["anthropic/claude-x"]),
        ({"OPENAI_BASE_URL": "http://h:1/v1"}, None, "llama3", ["openai/llama3", "openai-responses/llama3"]),
        ({"OPENAI_API_BASE": "http://h:1/v1"}, None, "llama3", ["openai/llama3", "openai-responses/llama3"]),
        ({"GEMINI_API_KEY": "sk-g-key"} | OPENAI, None, "gemini-3-pro", ["gemini/gemini-3-pro"]),
        ({"MISTRAL_API_KEY": "sk-m-key", "GROQ_API_KEY": "sk-q-key"}, None, "codestral-2", ["mistral/codestral-2"]),
        ({"DEEPSEEK_API_KEY": "sk-d-key", "XAI_API_KEY": "sk-x-key"}, None, "grok-4", ["xai/grok-4"]),
        ({"OPENROUTER_API_KEY": "sk-r-key"}, None, "anthropic/claude-opus-4", ["openrouter/anthropic/claude-opus-4"]),
    ],
)
def test_name_leads_to_the_vendor_that_has_it(
    environment: dict[str, str], model: str | None, asked: str, routes: list[str]
) -> None:
    """A name goes to whose it is, another to the first there is, all to the one chosen; without a key, this machine."""
    plans = ModelPlans(model_plans(loaded(environment, model).config))
    assert [f"{route.provider}/{route.model}" for route in plans[asked].routes] == routes


def test_vendor_is_found_by_key_or_address() -> None:
    """An empty variable is no key."""
    environment = {"OPENAI_API_KEY": "", "ANTHROPIC_AUTH_TOKEN": "x", "GROQ_BASE_URL": "http://h"}
    assert list(found(environment)) == ["anthropic", "groq"]
