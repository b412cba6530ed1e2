"""What a program finds where it looks for vendors."""

import pytest

from organism.cli.programs.variables import Place, invocation

URL, KEY = "http://127.0.0.1:4321", "sk-organism-1"
REAL = "sk-real"
AT_ALL_TIMES = {
    "OPENAI_BASE_URL": f"{URL}/v1",
    "OPENAI_API_BASE": f"{URL}/v1",
    "OPENAI_API_KEY": KEY,
    "ANTHROPIC_BASE_URL": URL,
    "ANTHROPIC_API_BASE": URL,
    "ANTHROPIC_API_URL": URL,
    "ANTHROPIC_API_KEY": KEY,
    "ANTHROPIC_AUTH_TOKEN": KEY,
    "ORGANISM_URL": URL,
    "ORGANISM_KEY": KEY,
}


@pytest.mark.parametrize(
    ("before", "also"),
    [
        ({}, {}),
        ({"OPENAI_API_KEY": REAL, "ANTHROPIC_API_KEY": REAL, "HOME": "/h"}, {"HOME": "/h"}),
        ({"OPENAI_BASE_URL": "http://elsewhere", "OPENAI_API_BASE": "http://elsewhere"}, {}),
        (
            {"GROQ_API_KEY": REAL},
            {"GROQ_API_KEY": KEY, "GROQ_BASE_URL": f"{URL}/v1", "GROQ_API_BASE": f"{URL}/v1"},
        ),
        (
            {"GOOGLE_API_KEY": REAL},
            {"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": f"{URL}/v1", "GEMINI_API_BASE": f"{URL}/v1"},
        ),
        ({"CLAUDE_CODE_OAUTH_TOKEN": REAL, "CLAUDE_CODE_USE_BEDROCK": "1", "TOGETHER_API_KEY": REAL}, {}),
        (
            {"HTTP_PROXY": "http://p", "NO_PROXY": "intern"},
            {
                "HTTP_PROXY": "http://p",
                "NO_PROXY": "intern,127.0.0.1,localhost",
                "no_proxy": "intern,127.0.0.1,localhost",
            },
        ),
    ],
)
def test_every_vendor_is_the_gateway_and_no_key_of_theirs_is_left(before: dict[str, str], also: dict[str, str]) -> None:
    """Addresses and keys lead to the gateway, by every name that SDKs have for them, and past a proxy."""
    made = invocation(("python", "agent.py"), before, Place(url=URL, key=KEY))
    assert made.environment == AT_ALL_TIMES | also
    assert made.command == ("python", "agent.py")


def test_vendor_known_from_a_file_is_the_gateway_too() -> None:
    """A program that reads the .env itself takes what is set before: no key of it comes through."""
    made = invocation(("python",), {}, Place(url=URL, key=KEY), known=("GROQ_API_KEY",))
    assert made.environment["GROQ_API_KEY"] == KEY


def test_program_that_needs_a_name_is_given_the_one_that_answers() -> None:
    """A model that answers everything is named to programs that want a name, unless they have one already."""
    made = invocation(("qwen",), {"AIDER_MODEL": "mine"}, Place(url=URL, key=KEY, model="openai/gpt-5-mini"))
    assert (made.environment["OPENAI_MODEL"], made.environment["AIDER_MODEL"]) == ("gpt-5-mini", "mine")


def test_programs_that_read_other_variables_get_these() -> None:
    """Codex is told by options, opencode by a configuration, Claude Code has one key, and mini-SWE-agent one try."""
    codex = invocation(("/usr/bin/codex", "exec", "hi"), {}, Place(url=URL, key=KEY, model="gpt-5.1-codex"))
    assert codex.command[::2][:3] == ("/usr/bin/codex", 'model_provider="organism"', codex.command[4])
    assert f'base_url="{URL}/v1"' in codex.command[4]
    assert codex.command[-4:] == ("-c", 'model="gpt-5.1-codex"', "exec", "hi")
    opencode = invocation(("opencode",), {}, Place(url=URL, key=KEY))
    assert f'"baseURL":"{URL}/v1"' in opencode.environment["OPENCODE_CONFIG_CONTENT"]
    claude = invocation(("claude",), {"ANTHROPIC_API_KEY": REAL}, Place(url=URL, key=KEY))
    assert "ANTHROPIC_API_KEY" not in claude.environment
    mini = invocation(("mini", "-t", "x"), {}, Place(url=URL, key=KEY))
    assert mini.environment["MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT"] == "1"
