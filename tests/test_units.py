"""Units of budgets: one table, and a list of the places in which a unit has a meaning of its own."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from organism.amounts import Amounts, BudgetState, Dimension, Limits
from organism.amounts.units import (
    ADDITIVE,
    AMOUNT_FIELDS,
    DIMENSIONS,
    UNITS,
    amount_of,
    ceilings_of,
    format_amount,
    limit_of,
    limited,
    numbers_of,
    positive,
    whole,
)
from organism.api.bodies import LimitsBody, LimitsRequestBody, MoveBody, ReplayLimitsBody
from organism.budget.policy import Ask, Grant, Headroom, carve, check_correction, decide, room
from organism.budget.requests import LimitsRequest
from organism.budget.thresholds import Due, reached, running_short, whole_limits
from organism.cli.commands.remote.tokens import MostOf
from organism.cli.options import Budget, Step
from organism.config.schema.limits import EachThreadLimitsSection, LimitsSection, ThreadLimitsSection
from organism.control.accounts import LimitsChange
from organism.control.listing.account_page import fullness
from organism.errors import ConfigError, LedgerStateError, Refusal
from organism.ledger.amount_checks import require_natural
from organism.telemetry.metrics import instruments, node_instruments

ROOT = Path(__file__).parent.parent / "organism"

MEANING = {
    "amounts/__init__.py": {"Dimension", "Amounts", "Limits", "__add__", "__sub__", "within"},
    "amounts/units.py": {"UNITS"},
    "budget/policy.py": {"_longest_output"},
    "budget/thresholds.py": {"reached", "running_short"},
    "budget/requests.py": {"LimitsRequest"},
    "budget/budget_hold.py": {"worst_case", "settle"},
    "router/spending/expense.py": {"ask"},
    "whatif/repricing.py": {"ask"},
    "config/schema/limits.py": {"LimitsSection"},
    "config/build/limits.py": {"_limits"},
    "control/accounts.py": {"LimitsChange"},
    "api/bodies.py": {
        *("LimitsBody", "limits", "MoveBody", "change", "AdjustBody", "amounts"),
        *("ReplayLimitsBody", "LimitsRequestBody"),
    },
    "cli/options.py": {"Step", "down"},
    "cli/commands/remote/budget.py": {"adjust", "_correction_text"},
    "cluster/node_metrics.py": {"_slices"},
    "cli/commands/remote/tokens.py": {"MostOf"},
    "cli/programs/private_gateway.py": {"_section"},
    "stores/batch.py": {"_entry_row"},
    "telemetry/metrics/gauges.py": {"_budgets"},
}
"""Where a new unit is written in beside its row: what it is, what a call takes of it, and how people write it.

Amounts and limits, the decision, thresholds and requests are tried below with every unit; so are the words of the file,
the API and the command line.
"""

SUMS = {
    "billing/reports/report_tables.py": {"_waste_table"},
    "cli/burn_rate.py": {"time_left_s"},
    "cli/commands/remote/freeze.py": {"_show"},
    "cli/commands/remote/threads.py": {"_print_thread"},
    "cli/commands/remote/top.py": {"parts", "_burn_table"},
    "cli/commands/replay.py": {"_compared", "_calls", "_remarks"},
    "cli/tables.py": {"thread_row"},
    "cluster/routing/merging.py": {"_status"},
    "control/observed/history.py": {"_charged", "burn", "_keep"},
    "control/views.py": {"Hop", "Burn"},
    "daemon/process.py": {"_totals", "log_event"},
    "runtime/handlers/loop_breakers.py": {"on_call"},
    "telemetry/traces/span_attributes.py": {"thread_attributes"},
    "testing/store_contract.py": {"live_a_little"},
    "whatif/outcome.py": {"Sum", "plus"},
}
"""Where tokens, money and calls are shown as what was used, without being a limit of anything."""


def _identifiers(node: ast.AST) -> set[str]:
    found: set[str] = set()
    for each in ast.walk(node):
        match each:
            case ast.Constant(value=str(name)) | ast.Attribute(attr=name) | ast.arg(arg=name):
                found.add(name)
            case ast.keyword(arg=str(name)) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(name)
            case _:
                pass
    return found


def _pieces(body: list[ast.stmt]) -> Iterator[tuple[str, ast.AST]]:
    """Yield functions, fields of classes, and assignments of a module, each with its name."""
    for statement in body:
        match statement:
            case ast.ClassDef(name=name, body=inner):
                functions = [each for each in inner if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                yield name, ast.Module([each for each in inner if each not in functions], [])
                yield from _pieces([*functions])
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name, statement
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                yield name, statement
            case _:
                pass


def _written_out(path: Path) -> set[str]:
    """Return what of a module names tokens, calls and a third unit one by one."""
    pieces = _pieces(ast.parse(path.read_text(encoding="utf-8")).body)
    return {
        name
        for name, piece in pieces
        if {"tokens", "calls"} <= (found := _identifiers(piece)) and found & {"usd", "cost_nanousd", "seconds"}
    }


def test_units_are_written_out_only_where_they_mean_something() -> None:
    """A list of units beside the table would miss the next one: who adds a unit finds every place of it here."""
    found = {
        path.relative_to(ROOT).as_posix(): names for path in sorted(ROOT.rglob("*.py")) if (names := _written_out(path))
    }

    assert found == MEANING | SUMS, "go over organism.amounts.units.UNITS, or say here why a place writes units out"


def test_every_unit_is_a_row_a_limit_and_an_amount_or_a_clock() -> None:
    """The table is whole, and lists of amounts are in its order."""
    assert get_args(Dimension) == DIMENSIONS == tuple(UNITS)
    assert {unit.limit for unit in UNITS.values()} == {*Limits.__struct_fields__}
    assert tuple(UNITS[unit].amount for unit in ADDITIVE) == AMOUNT_FIELDS
    assert tuple(UNITS[unit].limit for unit in ADDITIVE) == AMOUNT_FIELDS


@pytest.mark.parametrize(
    "words",
    [LimitsBody, MoveBody, ReplayLimitsBody, LimitsRequestBody, ThreadLimitsSection, EachThreadLimitsSection],
)
def test_people_can_write_every_unit(words: type) -> None:
    """In requests and in the file of a thread's limits, under the name that refusals have for it."""
    assert {*DIMENSIONS} <= {*words.__struct_fields__}  # type: ignore[attr-defined]


def test_every_unit_is_an_option_of_commands_and_of_a_change() -> None:
    """What can be refused can be raised, moved and given to a run."""
    assert {*ADDITIVE} <= {*LimitsSection.__struct_fields__}
    assert {*DIMENSIONS} <= {field.name for field in fields(Step)}
    assert {*DIMENSIONS} == {field.name for field in fields(MostOf)}
    assert {*DIMENSIONS} == {field.name.removeprefix("budget_") for field in fields(Budget)}
    assert {*Limits.__struct_fields__} == {*LimitsRequest.__struct_fields__}
    assert {*Limits.__struct_fields__} <= {*LimitsChange.__struct_fields__}


def test_the_dashboard_and_the_databases_know_every_unit() -> None:
    """What is no Python has its own table of units, columns and metrics: each is the one of the program."""
    script = (ROOT / "api" / "dashboard" / "lib" / "format.js").read_text(encoding="utf-8")
    table = script.partition("const UNITS = [")[2].partition("];")[0]
    shown = {tuple(name.strip(' "') for name in row.split(",")) for row in re.findall(r"\[([^\]]+)\]", table)}
    rows = (ROOT / "stores" / "schema.py").read_text(encoding="utf-8")
    columns = (ROOT / "stores" / "postgres" / "postgres_schema.py").read_text(encoding="utf-8")
    every = (*vars(instruments).values(), *vars(node_instruments).values())
    gauges = {gauge.name for gauge in every if isinstance(gauge, instruments.Instrument)}

    assert shown == {(name, unit.limit, unit.amount or "null") for name, unit in UNITS.items()}
    assert all(f" {field} INTEGER" in rows for field in AMOUNT_FIELDS)
    for prefix in ("", "g_", "taken_", "short_", "s_", "h_"):
        assert all(f" {prefix}{field} bigint" in columns for field in AMOUNT_FIELDS), prefix
    for what in ("budget.limit", "budget.reserved", "cluster.slice", "cluster.slice_unused"):
        assert {what if unit == "usd" else f"{what}_{unit}" for unit in ADDITIVE} <= {
            name.removeprefix("organism.") for name in gauges
        }


def test_the_dashboard_writes_units_out_in_its_table_alone() -> None:
    """Forms, sums and words go over the table: who adds a row has the fields in which people write the unit."""
    found = {
        path.name
        for path in (ROOT / "api" / "dashboard").rglob("*.js")
        if "vendor" not in path.parts
        and any(len({*re.findall(r"\b(?:usd|tokens|calls|seconds)\b", part)}) > 2 for part in _literals(path))
    }

    assert found == {"pace.js"}, "go over UNITS of lib/format.js"


def _literals(path: Path) -> Iterator[str]:
    """Yield the objects and lists of a script that write names and values out, but for the table itself."""
    script = path.read_text(encoding="utf-8").partition("const UNITS = [")
    yield from re.findall(r"[\[{][^\[\]{}`]*[\]}]", script[0] + script[2].partition("];")[2])


def _only(unit: Dimension, limit: int) -> Limits:
    return Limits(**{UNITS[unit].limit: limit})


def _amounts(unit: Dimension, amount: int) -> Amounts:
    field = UNITS[unit].amount
    return Amounts() if field is None else Amounts(**{field: amount})


@pytest.mark.parametrize("unit", DIMENSIONS)
def test_a_limit_of_any_unit_refuses_and_is_named(unit: Dimension) -> None:
    """What is used up refuses the next call, with the unit's own numbers."""
    ask = Ask(input_tokens=1, output_cap=1, request_cost=1)
    full = Headroom("thread:t", _only(unit, 5), _amounts(unit, 5), Amounts(), elapsed_ns=5)
    free = Headroom("thread:t", _only(unit, 9), _amounts(unit, 5), Amounts(), elapsed_ns=5)

    refusal = decide([full], ask)

    assert isinstance(refusal, Refusal)
    assert (refusal.dimension, refusal.limit, refusal.spent) == (unit, 5, 5)
    assert isinstance(decide([free], ask), Grant)


@pytest.mark.parametrize("unit", DIMENSIONS)
def test_a_limit_of_any_unit_warns(unit: Dimension) -> None:
    """Per cents, whole limits and few calls are told of every unit."""
    limits, spent = _only(unit, 100), _amounts(unit, 90)

    assert list(reached(limits, spent, 90, (75, 95))) == [(unit, 75)]
    assert list(whole_limits(_only(unit, 40), spent, 90, 95, {})) == [Due(unit, 100), Due(unit, 200)]
    assert list(running_short(limits, spent, 90, _amounts(unit, 6), 6, 3)) == [(unit, 6)]
    assert fullness(BudgetState("thread:t", limits, spent, Amounts(), elapsed_ns=90)) == 0.9


@pytest.mark.parametrize("unit", ADDITIVE)
def test_amounts_of_any_unit_add_up(unit: Dimension) -> None:
    """Arithmetic, carving, corrections and the checks of the ledger leave no unit out."""
    two, five = _amounts(unit, 2), _amounts(unit, 5)
    parent = Headroom("thread:t", _only(unit, 6), two, Amounts())

    assert (five + two, five - two, five.within(two)) == (_amounts(unit, 7), _amounts(unit, 3), two)
    assert whole(_only(unit, 5)) == five == limited(five, _only(unit, 0))
    assert limited(five, Limits()) == positive(Amounts() - five) == Amounts()
    assert room([parent], five) == _amounts(unit, 4)
    assert isinstance(carve([parent], _only(unit, 5)), Refusal)
    assert (amount_of(five, unit), limit_of(_only(unit, 5), unit)) == (5, 5)
    assert sorted(numbers_of(five)) == [0] * (len(ADDITIVE) - 1) + [5]
    assert [each for each in ceilings_of(_only(unit, 5)) if each is not None] == [5]
    with pytest.raises(ConfigError, match="cannot be taken off"):
        check_correction("thread:t", two, Amounts() - five)
    with pytest.raises(LedgerStateError, match="negative"):
        require_natural("h", "reserve", Amounts() - five)


def test_amounts_are_written_with_their_unit() -> None:
    """A refusal and a warning say the amount as people write it."""
    written = [format_amount(unit, 1_500_000_000) for unit in DIMENSIONS]

    assert written == ["1,500,000,000 tokens", "$1.50", "1.5 s", "1,500,000,000 calls"]
    assert format_amount("tokens", 1) == "1 token"
