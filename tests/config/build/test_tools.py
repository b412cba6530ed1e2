"""Tools and MCP servers in organism.yaml: what is read, and what is refused with file and line."""

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from organism import Organism
from organism.agents.agent import Agent
from organism.cli.app import call
from organism.config.build.spec import build
from organism.config.load import parse_config
from organism.control.components import OrganismSpec
from organism.errors import ConfigError

MODULE = '''
"""Handlers and tools."""
import msgspec
from organism import Context, Message, Text

class Order(Message, frozen=True):
    dish: str

async def cook(message: Order, ctx: Context) -> Text:
    return Text(message.dish)

def look(at: str) -> str:
    """Look at something."""
    return at

not_a_function = 3

def silent(at: str) -> str:
    return at
'''

YAML = """\
name: kitchen
entry: head
python_path: [.]
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
  models: {main: fake/any}
mcp:
  files: {command: [PYTHON, -m, files], env: [TOKEN]}
  web: {url: "https://mcp.example.com/mcp", token: "${env:TOKEN}"}
agents:
  head:
    model: main
    response_type: kitchen_tools:Order
    reasoning_effort: low
    prompt_cache: on
    tool_rounds: 3
    tools:
      - kitchen_tools:look
      - {function: kitchen_tools:look, name: glance, timeout_seconds: 5, result_bytes: 100, approval: deny}
      - {ask: cook, description: cooks}
      - {send: cook}
      - {mcp: files, only: [read]}
      - {mcp: web}
  cook: {handler: kitchen_tools:cook}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of tools."""
    tmp_path.joinpath("kitchen_tools.py").write_text(MODULE, encoding="utf-8")
    sys.modules.pop("kitchen_tools", None)
    return tmp_path


def parts(folder: Path, old: str = "", new: str = "") -> OrganismSpec:
    assert old in YAML
    environment = {"TOKEN": "t0ken"}
    loaded = parse_config(YAML.replace(old, new), "organism.yaml", folder, environment)
    return build(loaded, environment, lambda _line: None, None)


def test_tools_are_read(folder: Path) -> None:
    """Functions, agents and servers become tools, with their bounds, and agents that are asked become peers."""
    made = parts(folder)
    head: Agent = made.agents[0]
    settings = cast("Any", head.handler).__self__.settings

    named = [tool.spec.name for tool in settings.tools[:4]]
    assert named == ["look", "glance", "ask_cook", "send_cook"]
    assert settings.tools[1].rules.approval == "deny"
    assert settings.tools[1].rules.timeout_s == 5
    assert list(settings.tools[2].spec.parameters["properties"]) == ["dish"]
    assert settings.tools[4].only == ("read",)
    assert (settings.tool_rounds, settings.cache, settings.reasoning_effort) == (3, True, "low")
    assert settings.response_type.__name__ == "Order"
    assert head.may_write_to("cook")
    assert [server.name for server in made.tool_servers] == ["files", "web"]
    assert [kind.__name__ for kind in made.messages] == ["Order"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kitchen_tools:look\n", "kitchen_tools:lok\n", r"yaml:19:.+?: agents\.head\.tools\[0\]:.*did you mean 'look'"),
        ("kitchen_tools:look\n", "kitchen_tools:not_a_function\n", r"yaml:19:.+?: .*is no function"),
        ("kitchen_tools:look\n", "kitchen_tools:silent\n", r"yaml:19:.+?: .*'silent' has no docstring"),
        ("kitchen_tools:look\n", "look\n", r"yaml:19:.+?: .*package\.module:name"),
        ("{ask: cook,", "{ask: cok,", r"yaml:21:.+?: agents\.head\.tools\[2\]\.ask: no agent is called 'cok'.*'cook'"),
        ("{ask: cook,", "{ask: head,", r"yaml:21:.+?: .*cannot ask itself"),
        ("{send: cook}", "{send: coo}", r"yaml:22:.+?: .*did you mean 'cook'"),
        ("{send: cook}", "{send: cook, ask: cook}", r"yaml:22:.+?: .*has both"),
        ("{send: cook}", "{to: cook}", r"yaml:22:.+?: .*needs either"),
        ("{mcp: web}", "{mcp: wob}", r"yaml:24:.+?: .*no MCP server is called 'wob'.*'web'"),
        ("approval: deny", "approval: never", r"yaml:20:.+?: .*'never' is not one of: allow, "),
        ("env: [TOKEN]", "env: [TOKAN]", r"yaml:9:.+?: mcp\.files\.env\[0\]: the .* variable TOKAN is not set"),
        ('"https://mcp.example.com/mcp"', "mcp.example.com", r"yaml:10:.+?: mcp\.web\.url: .*no address"),
        ("env: [TOKEN]", "folder: nowhere", r"yaml:9:.+?: mcp\.files\.folder: there is no folder"),
        ('"${env:TOKEN}"', "literal", r"yaml:10:.+?: .*a secret is never written here"),
        ("kitchen_tools:Order", "kitchen_tools:look", r"yaml:14:.+?: agents\.head\.response_type: .*no message type"),
        ("  files: {", "  fi/les: {", r"yaml:9:.+?: .*cannot be a server's name"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(folder: Path, old: str, new: str, said: str) -> None:
    """Whatever is wrong about a tool is said before anything runs, where it stands, with what to do."""
    with pytest.raises(ConfigError, match=said):
        parts(folder, old, new)


def test_secrets_of_servers_do_not_show(folder: Path) -> None:
    """A token is nowhere in what is printed of a configuration."""
    loaded = parse_config(YAML, "organism.yaml", folder, {"TOKEN": "t0ken"})

    assert "t0ken" not in repr(loaded.config)


def test_check_shows_tools_and_servers(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``organism check`` says which agent may use what, without starting a server."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TOKEN", "t0ken")
    path = folder / "organism.yaml"
    path.write_text(YAML, encoding="utf-8")

    assert call(["check", "--file", str(path)]) == 0
    shown = capsys.readouterr().out

    for words in (
        "kitchen_tools:look",
        "deny",
        "asks cook",
        "mcp files: read",
        "PYTHON -m files",
        "30 s, 16,384 bytes",
    ):
        assert words in shown
    assert "t0ken" not in shown


def test_organism_of_the_file_can_be_made(folder: Path) -> None:
    """The whole file makes an organism; servers are started only when they are needed."""
    path = folder / "organism.yaml"
    path.write_text(YAML, encoding="utf-8")

    assert set(Organism.from_yaml(path, environment={"TOKEN": "t"}).agents) == {"head", "cook"}
