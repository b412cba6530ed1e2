"""``organism prices``: what models cost, and which have no price."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands import finished

PRICED = """\
name: priced
entry: writer
llm:
  providers:
    mine: {type: openai, base_url: "http://127.0.0.1:1/v1"}
    fake: {type: scripted, answers: [hello]}
  models:
    main: {routes: [mine/prod, mine/strange], degrade: {at: 80, to: small}}
    small: fake/any
agents:
  writer: {model: main}
prices:
  mine/prod: openai/gpt-5-mini
"""


def prices(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    result = finished(folder, *arguments, environment={"PATH": "", "COLUMNS": "160"})
    assert "Traceback" not in result.stderr
    return result


def test_a_model_is_shown_with_all_its_rates_and_their_source(tmp_path: Path) -> None:
    """Without any configuration the shipped prices are shown, and where they come from."""
    result = prices(tmp_path, "prices", "anthropic/claude-haiku-4-5")

    assert result.returncode == 0, result.stderr
    for expected in ("dollars per million tokens", "cached", "reasoning", "$1.25", "genai-prices "):
        assert expected in result.stdout, expected


def test_a_model_of_the_configuration_is_shown_with_its_routes(tmp_path: Path) -> None:
    """A name of one's own is looked up as the configuration means it, unknown prices said to be unknown."""
    (tmp_path / "organism.yaml").write_text(PRICED)

    result = prices(tmp_path, "prices", "main")

    assert result.returncode == 0, result.stderr
    assert "mine/prod" in result.stdout
    assert "unknown" in result.stdout


def test_a_model_nobody_knows_fails(tmp_path: Path) -> None:
    """An unknown price is an error that says what to do, not a zero."""
    result = prices(tmp_path, "prices", "no-such-model")

    assert result.returncode == 1
    assert "give it one under 'prices:'" in result.stderr


def test_prices_need_no_keys_and_can_be_read_by_programs(tmp_path: Path) -> None:
    """Whoever looks at prices needs no provider's key; ``--json`` gives the rates in nano-USD, ``null`` if unknown."""
    keyed = PRICED.replace('base_url: "http://127.0.0.1:1/v1"', 'api_key: "${env:SECRET}", base_url: "${env:WHERE}"')
    (tmp_path / "organism.yaml").write_text(keyed)

    checked = json.loads(prices(tmp_path, "prices", "check", "--json").stdout)
    shown = json.loads(prices(tmp_path, "prices", "small", "--json").stdout)

    assert [(each["model"], each["served_by"]) for each in checked] == [
        ("main", "mine/prod"),
        ("main", "mine/strange"),
        ("small", "fake/any"),
    ]
    assert checked[0]["rates"]["input"]["base"] == 250_000_000
    assert checked[1]["rates"] is None
    assert shown[0]["rates"]["source"] == "local"


def test_a_model_of_the_configuration_without_any_price_fails(tmp_path: Path) -> None:
    """A model that nobody knows a price of is an error, whether it is named by its own name or its provider's."""
    (tmp_path / "organism.yaml").write_text(
        PRICED.replace("  mine/prod: openai/gpt-5-mini", "  other: openai/gpt-5-mini")
    )

    assert prices(tmp_path, "prices", "main").returncode == 1
    assert prices(tmp_path, "prices", "mine/strange").returncode == 1


@pytest.mark.parametrize(
    ("unpriced", "code", "phrase"),
    [
        ("refuse", 1, "refuses their calls"),
        ("record", 0, "recorded without a cost"),
        ("{input: 9, output: 9}", 0, "taken to cost what 'unpriced' says"),
    ],
)
def test_check_names_models_without_a_price(tmp_path: Path, unpriced: str, code: int, phrase: str) -> None:
    """One command says before anything runs which calls a limit in USD would refuse."""
    (tmp_path / "organism.yaml").write_text(PRICED.replace("llm:\n", f"llm:\n  unpriced: {unpriced}\n"))

    result = prices(tmp_path, "prices", "check")

    assert result.returncode == code, result.stderr
    assert "no price is known for mine/strange" in result.stdout
    assert phrase in result.stdout
    assert phrase in prices(tmp_path, "check").stdout


def test_check_says_where_a_model_degrades_to_one_without_a_price(tmp_path: Path) -> None:
    """The step that a limit in USD would never let a call take is named with its line, before anything runs."""
    path, small = tmp_path / "organism.yaml", "    small: fake/any"
    path.write_text(PRICED)
    assert json.loads(prices(tmp_path, "check", "--json").stdout)["degrades_unpriced"] == {}

    path.write_text(PRICED.replace(small, "    small: mine/nobody-knows-it"))
    said = " ".join(prices(tmp_path, "check").stdout.split())

    assert "organism.yaml:8:65: llm.models.main.degrade.to: no price is known for 'small'" in said
    assert "calls stay with 'main'" in said
    assert json.loads(prices(tmp_path, "check", "--json").stdout)["degrades_unpriced"] == {"main": "small"}

    path.write_text(path.read_text().replace("llm:\n", "llm:\n  unpriced: record\n"))
    assert "calls stay with" not in prices(tmp_path, "check").stdout
