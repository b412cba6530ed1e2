"""Limits in organism.yaml: windows, labels, pools, modes and thresholds of single scopes, values of the environment."""

from pathlib import Path

import pytest

from organism.amounts import Limits
from organism.budget.scopes import BudgetPlan, PoolLimits, ScopedLimits, ScopeRule
from organism.config.build.limits import budget_plan
from organism.config.load import load_config, parse_config
from organism.errors import ConfigError

BASE = """\
name: demo
entry: a
llm: {providers: {p: {type: openai}}, models: {m: p/x}}
agents: {a: {model: m}}
limits:
"""


def plan(limits: str, environment: dict[str, str] | None = None) -> BudgetPlan:
    return budget_plan(
        parse_config(BASE + limits, "o.yaml", Path(), {"OPENAI_API_KEY": "k"} | (environment or {})).config
    )


def test_every_window_may_be_limited_at_once() -> None:
    """Hour, day, week, month, lifetime, each call and rolling windows stand side by side, in integer units."""
    made = plan(
        "  call: {usd: 1}\n  hour: {usd: 2}\n  day: {usd: 3}\n  week: {usd: 4}\n  month: {usd: 5}\n"
        "  lifetime: {usd: 6}\n  rolling: [{hours: 6, usd: 7}, {hours: 48, tokens: 8}]\n"
    )

    assert made.windows == {
        "call": Limits(usd=1),
        "hour": Limits(usd=2),
        "6h": Limits(usd=7),
        "48h": Limits(tokens=8),
        "day": Limits(usd=3),
        "week": Limits(usd=4),
        "month": Limits(usd=5),
        "lifetime": Limits(usd=6),
    }


def test_a_scope_may_have_a_mode_and_thresholds_of_its_own() -> None:
    """What a scope does not say is as the organism has it."""
    made = plan(
        "  day: {usd: 5, mode: audit}\n  thread: {thresholds: [50]}\n  agents: {a: {usd: 1, per: 6h, mode: off}}\n"
    )

    assert made.rules == {"thread": ScopeRule(thresholds=(50,)), "day": ScopeRule(mode="audit")}
    assert made.agents["a"] == ScopedLimits(Limits(usd=1), "6h", ScopeRule(mode="off"))


def test_values_and_pools_of_a_label_take_over_what_they_do_not_say() -> None:
    """A value names what is different; a pool has its own amounts, counted over the same time."""
    made = plan(
        "  labels:\n    tenant:\n      usd: 10\n      calls: 7\n      per: day\n      mode: audit\n"
        "      values: {acme: {usd: 100}, free: {usd: 1, per: lifetime, mode: enforce}}\n"
        "      pools: {big: {values: [acme, free], usd: 50}}\n"
    ).labels["tenant"]

    audit = ScopeRule(mode="audit")
    assert made.each == ScopedLimits(Limits(usd=10, calls=7), "day", audit)
    assert made.values["acme"] == ScopedLimits(Limits(usd=100, calls=7), "day", audit)
    assert made.values["free"] == ScopedLimits(Limits(usd=1, calls=7), "lifetime", ScopeRule(mode="enforce"))
    assert made.pools["big"] == PoolLimits(frozenset({"acme", "free"}), ScopedLimits(Limits(usd=50), "day", audit))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            "  agents: {a: {usd: 1, per: fortnight}}",
            r"o.yaml:6:[0-9]+: limits.agents.a.per: .*per 'fortnight'; there are: ",
        ),
        ("  agents: {a: {usd: 1, per: dya}}", "o.yaml:6:[0-9]+: limits.agents.a.per: .*did you mean 'day'"),
        ("  agents: {a: {usd: 1, per: 0h}}", "o.yaml:6:[0-9]+: limits.agents.a.per: "),
        ("  agents: {a: {usd: 1, per: 400d}}", "o.yaml:6:[0-9]+: limits.agents.a.per: .*longer than 366 days"),
        ("  day: {usd: 1, mode: adit}", "o.yaml:6:[0-9]+: limits.day.mode: 'adit' is not one of: audit, enforce, off"),
        ("  day: {usd: 1, thresholds: [90, 50]}", "o.yaml:6:[0-9]+: limits.day.thresholds: .*ascending"),
        ("  day: {usd: 1, thresholds: []}", "o.yaml:6:[0-9]+: limits.day.thresholds: at least one"),
        ("  call: {calls: 1}", "o.yaml:6:[0-9]+: limits.call.calls: each call is one call"),
        ("  rolling: {usd: 1}", "o.yaml:6:[0-9]+: limits.rolling: the key 'hours' is missing"),
        ("  rolling: {hours: 0, usd: 1}", "o.yaml:6:[0-9]+: limits.rolling.hours: 0 is out of range"),
        ("  rolling: [{hours: 1, usd: 1}, {hours: 1, usd: 2}]", "o.yaml:6:[0-9]+: limits.rolling.1..hours: .*twice"),
        ("  labels: {tenant: {usd: x}}", "o.yaml:6:[0-9]+: limits.labels.tenant.usd: expected a number"),
        ("  labels: {tenant: {usd: 1, value: {}}}", "o.yaml:6:[0-9]+: .*did you mean 'values'"),
        (
            "  labels: {tenant: {pools: {p: {usd: 1}}}}",
            "o.yaml:6:[0-9]+: limits.labels.tenant.pools.p: the key 'values'",
        ),
        (
            "  labels: {tenant: {pools: {p: {values: []}}}}",
            "o.yaml:6:[0-9]+: limits.labels.tenant.pools.p.values: .*empty",
        ),
        ("  labels: {tenant: {values: {a: {per: x}}}}", "o.yaml:6:[0-9]+: limits.labels.tenant.values.a.per: "),
        ("  labels: {tenant: {required: maybe}}", "o.yaml:6:[0-9]+: limits.labels.tenant.required: "),
        (
            "  day:\n    usd: ${env:NONE}",
            "o.yaml:7:[0-9]+: limits.day.usd: the environment variable NONE is not set; or write",
        ),
        ("  day:\n    usd: ${env:NONE:-x}", "o.yaml:7:[0-9]+: limits.day.usd: expected a number such as 0.50, not 'x'"),
        (
            "  day:\n    usd: ${env:WORD}",
            "o.yaml:7:[0-9]+: limits.day.usd: .*not the value of the environment variable WORD$",
        ),
        ("  day:\n    calls: ${env:HALF}", "o.yaml:7:[0-9]+: limits.day.calls: expected a whole number"),
        ("  day:\n    usd: ${env:LESS}", "o.yaml:7:[0-9]+: limits.day.usd: "),
        (
            "  day:\n    usd: ${DAILY}",
            "o.yaml:7:[0-9]+: limits.day.usd: expected a number such as 0.50, not '.{DAILY}'",
        ),
        ("  thread:\n    tokens: ${env:WORD}", "o.yaml:7:[0-9]+: limits.thread.tokens: expected a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused_with_file_and_line(limits: str, message: str) -> None:
    """A mistake in a limit is named where it stands, and no value of the environment is shown with it."""
    with pytest.raises(ConfigError, match=message):
        plan(limits + "\n", {"WORD": "s3cret", "HALF": "0.5", "LESS": "-1"})


@pytest.mark.parametrize(
    ("written", "environment", "expected"),
    [
        ("${env:DAILY_USD:-20}", {}, Limits(usd=20)),
        ("${env:DAILY_USD:-20}", {"DAILY_USD": ""}, Limits(usd=20)),
        ("${env:DAILY_USD:-20}", {"DAILY_USD": "2.50"}, Limits(usd="2.50")),
        ('"${env:DAILY_USD}"', {"DAILY_USD": " 7 "}, Limits(usd=7)),
        ("'${env:DAILY_USD:-0.1}'", {}, Limits(usd="0.1")),
    ],
)
def test_a_limit_from_the_environment_is_a_number(written: str, environment: dict[str, str], expected: Limits) -> None:
    """What a variable holds, or its default, is read as if it stood there without quotes."""
    assert plan(f"  day:\n    usd: {written}\n", environment).windows == {"day": expected}


def test_words_and_truth_come_from_the_environment_too() -> None:
    """Modes, 'unlimited' and true or false may be variables: one file for all deployments."""
    made = plan(
        "  day:\n    usd: 1\n    mode: ${env:MODE}\n  thread:\n    tokens: ${env:TOKENS:-unlimited}\n"
        "  labels:\n    t:\n      usd: 1\n      required: ${env:MUST:-true}\n",
        {"MODE": "audit"},
    )

    assert made.rules["day"].mode == "audit"
    assert made.thread.tokens is None
    assert made.labels["t"].required


def write(folder: Path, dotenv: str | bytes, limits: str = "  day:\n    usd: ${env:DAILY_USD:-20}\n") -> Path:
    (folder / "o.yaml").write_text(BASE + limits)
    (folder / ".env").write_bytes(dotenv if isinstance(dotenv, bytes) else dotenv.encode())
    (folder / ".env").chmod(0o600)
    return folder / "o.yaml"


@pytest.mark.parametrize(
    "line",
    [
        "DAILY_USD=3",
        "export DAILY_USD=3",
        "DAILY_USD = 3 # dollars",
        'DAILY_USD="3"',
        "DAILY_USD='3' # quoted",
        "\ufeffDAILY_USD=3\r\n",
        "DAILY_USD=3\n# was\u2028DAILY_USD=9",
        "DAILY_USD=3 # was\x0cDAILY_USD=9",
    ],
)
def test_variables_are_read_from_the_file_beside(line: str, tmp_path: Path) -> None:
    """A .env beside organism.yaml sets what the process's own environment lacks, and no more than that."""
    path = write(tmp_path, f"# comment\n\n{line}\n" if "\ufeff" not in line else line)

    assert budget_plan(load_config(path, {}).config).windows["day"] == Limits(usd=3)
    assert budget_plan(load_config(path, {"DAILY_USD": "4"}).config).windows["day"] == Limits(usd=4)


@pytest.mark.parametrize(
    ("dotenv", "mode", "message"),
    [
        ("A=1\nOPENAI_API_KEY s3cret\n", 0o600, r"\.env:2: expected NAME=value$"),
        ('A="s3cret\n', 0o600, r"\.env:1: a quote is not closed"),
        (b"A=1\n\xff\n", 0o600, r"\.env:2: not UTF-8"),
        ("A=1\n", 0o602, r"\.env: everybody can write it"),
        ("A=" + "x" * 70_000, 0o600, r"\.env: larger than 64 KiB"),
    ],
)
def test_a_wrong_file_beside_is_refused_without_showing_what_it_holds(
    dotenv: str | bytes, mode: int, message: str, tmp_path: Path
) -> None:
    """A .env that others may write, or that holds what is none, is named with its line, and never its value."""
    path = write(tmp_path, dotenv)
    (tmp_path / ".env").chmod(mode)

    with pytest.raises(ConfigError, match=message) as refused:
        load_config(path, {})

    assert "s3cret" not in str(refused.value)


def test_a_loaded_configuration_does_not_show_the_file_beside(tmp_path: Path) -> None:
    """What stands in .env may be secret: no repr has it."""
    loaded = load_config(write(tmp_path, "SECRET=s3cret\n"), {})

    assert loaded.dotenv["SECRET"] == "s3cret"
    assert "s3cret" not in repr(loaded)
