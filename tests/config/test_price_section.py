"""Prices in a file of their own: read with the checks of an organism.yaml, and wrong with its file and line."""

from decimal import Decimal
from pathlib import Path

import pytest

from organism import ConfigError
from organism.config.build.router import override
from organism.config.price_section import load_prices
from organism.config.schema.llm import PriceSection
from organism.pricing.tool_fees import with_fees


@pytest.mark.parametrize("rest", ["", "name: whole\nentry: writer\nagents:\n  writer: {model: main}\n"])
def test_prices_are_found_alone_and_among_everything_else(tmp_path: Path, rest: str) -> None:
    """A file may hold nothing but prices, or be a whole organism.yaml, of which only they are read."""
    file = tmp_path / "prices.yaml"
    file.write_text(rest + "prices:\n  gpt-5: {input: 1.25, output: 10}\n  mine: gpt-5\n")

    prices = load_prices(file)

    assert prices == {"gpt-5": PriceSection(input=Decimal("1.25"), output=Decimal(10)), "mine": "gpt-5"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\n", "prices.yaml:1:1: there are no prices in it"),
        ("prices:\n  m: {input: 1}\n", "prices.yaml:2:6: prices.m: the key 'output' is missing"),
        ("prices:\n  a: b\n  b: a\n", "prices.yaml:2:3: prices.a: prices refer to each other in a circle"),
        ("prices:\n  m: {input: -1, output: 2}\n", "expected a number such as 0.50"),
        ("prices:\n  m: []\n", "prices.yaml:2:3: prices.m: the list is empty"),
        (
            "prices:\n  m: {input: 1, output: 2000000}\n",
            "prices.m.output: 2000000 dollars per million tokens is",
        ),
        (
            "prices:\n  m: {input: 99999999999, output: 2}\n",
            "prices.m.input: 99999999999 is out of range",
        ),
        (
            "prices:\n  m:\n    input: 1\n    output: 2\n    tiers: [{above_input_tokens: 9}]\n",
            "prices.yaml:5:13: prices.m.tiers[0]: changes no price",
        ),
    ],
)
def test_a_mistake_in_prices_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong is said with file, line and key."""
    (tmp_path / "prices.yaml").write_text(text)

    with pytest.raises(ConfigError) as error:
        load_prices(tmp_path / "prices.yaml")
    assert said in str(error.value)


def test_fees_of_a_vendor_s_tools_stand_with_the_price(tmp_path: Path) -> None:
    """A use of a tool that the vendor runs is charged as the file says, in place of the published fee."""
    text = "prices:\n  fake/m: {input: 1, output: 2, tools: {web_search: 0.008, code_execution: 0}}\n"
    file = tmp_path / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    (rates,) = [dated.rates for dated in override(load_prices(file)["fake/m"], "prices")]  # type: ignore[arg-type, union-attr]
    for tool, fee in (
        ("messages:web_search", 8_000_000),
        ("responses:web_search", 8_000_000),
        ("messages:code_execution", 0),
        ("responses:file_search", 2_500_000),
    ):
        assert with_fees(rates, {tool: 2}).request == 2 * fee


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        (
            "{web_serach: 1}",
            r"prices.fake/m.tools.web_serach: no vendor's tool is called 'web_serach'; there are: web_search",
        ),
        ("{web_search: much}", r"prices.fake/m.tools.web_search: expected a number"),
        ("{web_search: 0.0000000001}", r"prices.fake/m.tools.web_search: finer than a nano-dollar"),
    ],
)
def test_a_fee_that_is_none_is_refused(tools: str, message: str, tmp_path: Path) -> None:
    """A tool that no vendor runs, or a fee that is no amount, is refused with file and line."""
    file = tmp_path / "prices.yaml"
    file.write_text(f"prices:\n  fake/m: {{input: 1, output: 2, tools: {tools}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"prices.yaml:2:[0-9]+: {message}"):
        load_prices(file)
