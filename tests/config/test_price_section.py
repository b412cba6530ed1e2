"""Prices in a file of their own: read with the checks of an organism.yaml, and wrong with its file and line."""

from decimal import Decimal
from pathlib import Path

import pytest

from organism import ConfigError
from organism.config.price_section import load_prices
from organism.config.schema.llm import PriceSection


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
        ("name: x\n", "prices.yaml:1: there are no prices in it"),
        ("prices:\n  m: {input: 1}\n", "prices.yaml:2: prices.m: the key 'output' is missing"),
        ("prices:\n  a: b\n  b: a\n", "prices.yaml:2: prices.a: prices refer to each other in a circle"),
        ("prices:\n  m: {input: -1, output: 2}\n", "expected a number such as 0.50"),
        ("prices:\n  m: []\n", "prices.yaml:2: prices.m: the list is empty"),
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
            "prices.yaml:5: prices.m.tiers[0]: changes no price",
        ),
    ],
)
def test_a_mistake_in_prices_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    """What is wrong is said with file, line and key."""
    (tmp_path / "prices.yaml").write_text(text)

    with pytest.raises(ConfigError) as error:
        load_prices(tmp_path / "prices.yaml")
    assert said in str(error.value)
