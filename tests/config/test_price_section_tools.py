"""Prices of tools in organism.yaml: what is read, what is shown, and what is refused with file and line."""

from pathlib import Path
from typing import Any

import pytest

from organism.agents.tools.tool import AgentTool, ServedTools
from organism.cli.app import call
from organism.config.build.spec import build
from organism.config.load import parse_config
from organism.errors import ConfigError
from organism.pricing.tool_prices import ToolPrice

MODULE = '''
from organism.tools import tool

@tool(price={"call": "0.02"})
def paid_lookup(at: str) -> str:
    """Look something up."""
    return at
'''

YAML = """\
name: shop
entry: head
python_path: [.]
llm:
  providers:
    fake: {type: scripted, answers: [hello]}
  models: {main: fake/any}
mcp:
  web:
    url: "https://mcp.example.com/mcp"
    price: {call: 0.005}
    prices: {deep: 0.25, count: {unit: 0.001, of: results, max_units: 20}}
agents:
  head:
    model: main
    tools:
      - paid_lookup_tools:paid_lookup
      - {function: paid_lookup_tools:paid_lookup, name: cheaper, price: 0.01}
      - {ask: clerk, price: {call: 0.1, second: 0.0001}}
      - {mcp: web, only: [deep, plain]}
      - {mcp: web, price: {second: 0.002}}
  clerk: {model: main}
"""

MILLI = 1_000_000


def load(text: str, folder: Path) -> Any:
    (folder / "paid_lookup_tools.py").write_text(MODULE, encoding="utf-8")
    return build(parse_config(text, "shop.yaml", folder, {}), {}, lambda _line: None, None)


def test_a_price_is_written_where_a_tool_or_its_server_is(tmp_path: Path) -> None:
    """With the function, with the agent's entry, with the server or one of its tools: the closest wins."""
    pytest.importorskip("mcp")
    spec = load(YAML, tmp_path)
    head = next(each for each in spec.agents if each.name == "head")
    tools = head.handler.__self__.settings.tools
    own = {each.spec.name: each.rules.price for each in tools if isinstance(each, AgentTool)}
    assert own == {
        "paid_lookup": ToolPrice(call=20 * MILLI),
        "cheaper": ToolPrice(call=10 * MILLI),
        "ask_clerk": ToolPrice(call=100 * MILLI, second=100_000),
    }
    some, every = [each for each in tools if isinstance(each, ServedTools)]
    assert (some.rules.price, some.prices) == (ToolPrice(call=5 * MILLI), {"deep": ToolPrice(call=250 * MILLI)})
    assert (every.rules.price, every.prices) == (ToolPrice(second=2 * MILLI), {})


def test_check_shows_what_tools_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``organism check`` says the price of each tool and server."""
    pytest.importorskip("mcp")
    file = tmp_path / "organism.yaml"
    file.write_text(YAML, encoding="utf-8")
    (tmp_path / "paid_lookup_tools.py").write_text(MODULE, encoding="utf-8")
    assert call(["check", "--file", str(file)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "paid_lookup $0.02 a call $0.02",
        "web: deep $0.25 a call $0.25",
        "$0.01 a call",
        "$0.10 a call, $0.0001 a second",
        "$0.25 a call",
        "up to 20 results",
        "$0.002 a second",
    ):
        assert words in shown


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("price: 0.01", "price: much", r"shop.yaml:18:[0-9]+: agents.head.tools.1..price: expected a number"),
        ("price: 0.01", "price: -1", r"shop.yaml:18:[0-9]+: agents.head.tools.1..price: expected a number"),
        (
            "price: 0.01",
            "price: 0.0000000001",
            r"shop.yaml:18:[0-9]+: agents.head.tools.1..price: finer than a nano-dollar",
        ),
        ("price: 0.01", "price: {}", r"shop.yaml:18:[0-9]+: agents.head.tools.1..price: .* says what a call"),
        ("price: 0.01", "price: {cal: 1}", r"shop.yaml:18:[0-9]+: .*unknown key .cal.; did you mean 'call'"),
        ("price: 0.01", "price: {of: results}", r"shop.yaml:18:[0-9]+: agents.head.tools.1..price: .*says what a call"),
        ("price: 0.01", "price: {call: 1, max_units: 3}", r"shop.yaml:18:[0-9]+: .*says what a 'unit' costs"),
        ("price: 0.01", "price: {unit: 1, max_units: 0}", r"shop.yaml:18:[0-9]+: .*max_units: 0 is out of range"),
        ("price: 0.01", "price: {second: 1000000}", r"shop.yaml:18:[0-9]+: .*could cost more than"),
        ("price: {call: 0.005}", "price: {call: x}", r"shop.yaml:11:[0-9]+: mcp.web.price.call: expected a number"),
        ("deep: 0.25", "deep: {of: x}", r"shop.yaml:12:[0-9]+: mcp.web.prices.deep: .*says what a call"),
    ],
)
def test_what_is_no_price_is_refused_with_file_and_line(was: str, now: str, message: str, tmp_path: Path) -> None:
    """A price that cannot be one is refused when the file is read, by name and line."""
    with pytest.raises(ConfigError, match=message):
        parse_config(YAML.replace(was, now, 1), "shop.yaml", tmp_path, {})
