"""docs/GATEWAY.md does what it says: each of its programs runs as it stands there, but for the daemon's address."""

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Limits
from organism.config.load import parse_config
from organism.daemon.gateway_settings import gateway_settings
from tests.gateway.conftest import KEY

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]

Serve = Callable[..., AbstractAsyncContextManager[Any]]
TEXT = (Path(__file__).parents[3] / "docs" / "GATEWAY.md").read_text(encoding="utf-8")
HERE = "http://127.0.0.1:8420"


def block(marker: str) -> str:
    """Return the code below a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None, marker
    return found[1]


def test_the_section_loads_as_it_stands() -> None:
    """The section of organism.yaml is right, and means what the page says of it."""
    rest = """
name: g
entry: writer
llm: {providers: {fake: {type: scripted, answers: [hi]}}, models: {main: fake/m}}
agents: {writer: {model: main}}
"""
    settings = gateway_settings(parse_config(block("yaml") + rest, "GATEWAY.md", Path.cwd(), {"CI_KEY": KEY}))

    assert settings is not None
    assert settings.limits == Limits(cost_nanousd=5_000_000_000)
    assert [(key.name, key.thread, key.labels) for key in settings.keys] == [
        ("ci", None, {"team": "blue"}),
        ("laptop", "desk", {}),
    ]


@pytest.mark.parametrize("program", ["curl", "openai", "langchain", "pydantic-ai", "openai-agents", "anthropic"])
async def test_each_program_says_what_the_model_said(served: Serve, program: str) -> None:
    """Copied from the page and run, it prints the model's answer."""
    async with served(["the tide comes in"]) as gateway:
        code = block(program)
        assert HERE in code
        code = code.replace(HERE, str(gateway.http.base_url).rstrip("/"))
        command = ["sh", "-c", code] if program == "curl" else [sys.executable, "-c", code]
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with anyio.fail_after(120):
            ran = await anyio.run_process(command, env=environment | {"CI_KEY": KEY}, stderr=None)

        assert "the tide comes in" in ran.stdout.decode()
        assert program != "curl" or b"organism-budget-remaining-tokens: " in ran.stdout
        assert gateway.organism.usage.total.calls == 1


async def test_what_is_caught_there_is_what_comes(served: Serve) -> None:
    """The handler of a spent budget in the page's first program prints the numbers that its comment names."""
    async with served(limits=Limits(tokens=10)) as gateway:
        code = block("openai").replace(HERE, str(gateway.http.base_url).rstrip("/"))
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with anyio.fail_after(120):
            ran = await anyio.run_process([sys.executable, "-c", code], env=environment | {"CI_KEY": KEY}, stderr=None)

        for name in ("scope", "unit", "limit", "used", "held", "available", "needed", "thread", "remedy"):
            assert f"'{name}': " in ran.stdout.decode()


async def test_the_program_that_embeds_gets_its_vectors(served: Serve) -> None:
    """The page's program for embeddings prints a vector for each of its texts."""
    async with served() as gateway:
        code = block("embeddings").replace(HERE, str(gateway.http.base_url).rstrip("/"))
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        with anyio.fail_after(120):
            ran = await anyio.run_process([sys.executable, "-c", code], env=environment | {"CI_KEY": KEY}, stderr=None)

        assert ran.stdout.decode() == "0 8\n1 8\n"
