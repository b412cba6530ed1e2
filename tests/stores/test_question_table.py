"""Questions about shared limits in the database: one at a time for a limit, asked and answered once."""

import pytest
from msgspec.structs import replace

from organism.amounts import Limits
from organism.budget.guards.standing import Standing
from organism.ledger.account_balance import Balance
from organism.stores.leases import Lease
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.slice_table import SliceTable
from organism.stores.shared.slice_rows import LimitChange, NewQuestion
from organism.testing.postgres_server import PostgresServer

pytestmark = pytest.mark.debian

ALL = "organism@lifetime"
FIRST = NewQuestion(
    account=ALL, revision=1, threshold=50, thread_id="t", root="r", agent="a", detail="half of it", since_ns=0
)

LATER = "UPDATE organism.questions SET"


@pytest.fixture
def parts(table: SliceTable, leases: LeaseTable) -> list[Lease]:
    """Three partitions that share a limit."""
    found = list(leases.acquire(3, []))
    for lease in found:
        table.begin(lease, Balance(ALL, limits := Limits(calls=60), limits), None)
    return found


def calls(limit: int, *, revision: int) -> LimitChange:
    """Return an operator's change of the calls that all may make."""
    return LimitChange(
        limits=(None, None, limit),
        units=(False, False, True),
        revision=revision,
        standing=(),
        configured=(None, None, 60),
    )


def stands(table: SliceTable) -> Standing:
    standing = table.questions.standing(ALL)
    assert standing is not None
    return standing


def test_the_first_to_ask_asks_for_all(table: SliceTable, parts: list[Lease]) -> None:
    """A second partition asks nothing; an earlier owner of a partition does not either."""
    first, second, _ = parts
    assert (stands(table).threshold, stands(table).revision) == (0, 1)
    table.questions.ask(Lease(first.partition, first.epoch - 1, 3), FIRST)
    assert stands(table).threshold == 0
    table.questions.ask(first, FIRST)
    asked = stands(table)
    assert (asked.p, asked.threshold, asked.open, asked.detail) == (first.partition, 50, True, "half of it")
    table.questions.ask(second, replace(FIRST, agent="another"))
    table.questions.ask(second, replace(FIRST, threshold=75))
    assert stands(table) == asked


def test_the_first_answer_is_the_answer(table: SliceTable, parts: list[Lease]) -> None:
    """A second one changes nothing; after a yes the next threshold is asked about, after a no nothing is."""
    first, second, _ = parts
    table.questions.ask(first, FIRST)
    asked = stands(table)
    assert table.questions.answer(ALL, asked, allowed=True, note="go", by="me")
    assert not table.questions.answer(ALL, asked, allowed=False, note="stop", by="you")
    said = stands(table)
    assert (said.said, said.note, said.said_by, said.passed, said.open) == (True, "go", "me", 50, False)
    table.questions.ask(second, FIRST)
    assert stands(table) == said
    table.questions.ask(second, replace(FIRST, threshold=75))
    later = stands(table)
    assert (later.p, later.threshold, later.open, later.passed) == (second.partition, 75, True, 50)
    assert table.questions.answer(ALL, later, allowed=False, note="", by="me")
    table.questions.ask(first, replace(FIRST, threshold=75))
    assert (stands(table).said, stands(table).passed) == (False, 50)


def test_an_answer_of_before_a_rolling_window_counts_no_more(table: SliceTable, parts: list[Lease]) -> None:
    """A no that is as old as the spend it was about is asked anew, and so is what was passed then."""
    first, second, _ = parts
    table.questions.ask(first, FIRST)
    assert table.questions.answer(ALL, stands(table), allowed=False, note="", by="me")
    said = stands(table)
    assert said.since(said.said_ns).said is False
    assert said.since(said.said_ns + 1).threshold == 0
    table.questions.ask(second, replace(FIRST, since_ns=said.said_ns))
    assert stands(table) == said
    table.questions.ask(second, replace(FIRST, since_ns=said.said_ns + 1))
    assert (stands(table).p, stands(table).open) == (second.partition, True)


def test_a_changed_limit_is_asked_about_anew(table: SliceTable, parts: list[Lease]) -> None:
    """What was said of the limit before counts no more, and nobody asks about it as it was."""
    first, second, _ = parts
    table.questions.ask(first, FIRST)
    asked = stands(table)
    assert table.questions.answer(ALL, asked, allowed=True, note="", by="me")
    change = calls(70, revision=2)
    table.change(first, ALL, change)
    assert stands(table) == Standing(revision=2)
    table.questions.ask(second, replace(FIRST, threshold=75))
    assert stands(table) == Standing(revision=2), "it has seen the limit as it was"
    table.questions.ask(second, replace(FIRST, revision=2))
    assert (stands(table).open, stands(table).passed) == (True, 0)
    assert not table.questions.answer(ALL, asked, allowed=True, note="", by="me")


def test_an_answer_may_hold_any_character(table: SliceTable, parts: list[Lease]) -> None:
    """A text of PostgreSQL has no character zero; a note that has one, or what stands for it, is read as said."""
    table.questions.ask(parts[0], FIRST)
    for revision, note in enumerate(("no\0w", "a\x1a0b"), 2):
        assert table.questions.answer(ALL, stands(table), allowed=False, note=note, by="o")
        assert [each.standing.note for each in table.read([ALL], [], 0)] == [note]
        assert stands(table).note == note
        change = calls(60 + revision, revision=revision)
        table.change(parts[0], ALL, change)
        table.questions.ask(parts[0], replace(FIRST, revision=revision))


def test_what_is_asked_and_said_next_is_younger_by_any_clock(
    table: SliceTable, parts: list[Lease], postgres: PostgresServer
) -> None:
    """Partitions go by the youngest that they have heard: a server whose clock is behind must not hide what follows."""
    table.questions.ask(parts[0], FIRST)
    ages = [stands(table).age]
    for threshold in (75, 90):
        for column in ("asked_ns", "said_ns"):
            postgres.execute(f"{LATER} {column} = {column} + 3600000000000", postgres.url("test"))
            ages.append(stands(table).age)
            if column == "asked_ns":
                assert table.questions.answer(ALL, stands(table), allowed=True, note="", by="o")
            else:
                table.questions.ask(parts[1], replace(FIRST, threshold=threshold))
                assert stands(table).threshold == threshold
            ages.append(stands(table).age)
    assert ages == sorted(set(ages))
