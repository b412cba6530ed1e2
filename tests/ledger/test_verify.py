"""A ledger that was touched is found out, and one that was not tells where a thread's budget has gone."""

from collections.abc import Callable

import msgspec
import pytest

from organism.amounts import Amounts, Limits, TokenUsage
from organism.errors import Refusal
from organism.journal import StoredEntry
from organism.ledger.entries import AnyEntry, CallRecord, Checkpoint, Settled
from organism.ledger.explain import explain
from organism.ledger.ledger import Cost, Ledger
from organism.ledger.verify import verify
from organism.pricing.rates import flat_rates
from organism.stores.batch import chain_hash

GENESIS = bytes(32)
RATES = flat_rates(input=1_000_000, output=2_000_000, source="test")


def call(thread_id: str = "t", attempt: int = 1) -> CallRecord:
    return CallRecord(
        thread_id=thread_id,
        root_thread_id="t",
        agent="writer",
        message_id="m",
        call_id="c",
        attempt=attempt,
        provider="p",
        model="main",
        request_model="m",
        input_tokens=10,
        output_cap=10,
        price_source="test",
    )


def lived() -> list[AnyEntry]:
    """Return the entries of a small life: a call settled, one that overran, one given back, a refusal, a new limit."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("thread:t", Limits(tokens=100), 1)
    for hold, usage in (("h1", TokenUsage(input=8, output=2)), ("h2", TokenUsage(input=20, output=10))):
        ledger.reserve(hold, ("thread:t",), Amounts(20, 40, 1), 2, call())
        ledger.dispatch(hold, 3)
        cost = usage.input + 2 * usage.output
        ledger.settle(hold, Amounts(usage.total, cost, 1), Cost("settled", usage=usage, rates=RATES), 4)
    ledger.reserve("h3", ("thread:t",), Amounts(5, 5, 1), 5, call(attempt=2))
    ledger.release("h3", 6)
    ledger.report(Refusal("thread:t", "tokens", 100, 40, 0, 80), "t", 7)
    ledger.set_limits("thread:t", Limits(tokens=200), (), 8)
    ledger.checkpoint(9)
    ledger.close("thread:t", 10)
    return entries


def stored(entries: list[AnyEntry]) -> list[StoredEntry]:
    rows, last = [], GENESIS
    for entry in entries:
        body = msgspec.json.encode(entry).decode()
        last = chain_hash(last, body)
        rows.append(StoredEntry(entry.seq, body, last))
    return rows


def test_ledger_as_it_was_lived_is_right() -> None:
    """What the ledger has written verifies to the last entry."""
    verdict = verify(stored(lived()), chain_hash, GENESIS)

    assert verdict.fault is None
    assert (verdict.first, verdict.last, verdict.accounts, verdict.open_holds) == (1, 14, 0, 0)


def changed(rows: list[StoredEntry]) -> None:
    rows[3] = msgspec.structs.replace(rows[3], body=rows[3].body.replace('"tokens":10', '"tokens":1'))


def taken_out(rows: list[StoredEntry]) -> None:
    del rows[4]


def swapped(rows: list[StoredEntry]) -> None:
    rows[5], rows[6] = rows[6], rows[5]


@pytest.mark.parametrize(
    ("touch", "seq", "says"), [(changed, 4, "hash"), (taken_out, 6, "missing"), (swapped, 7, "missing")]
)
def test_touched_entry_is_named(touch: Callable[[list[StoredEntry]], None], seq: int, says: str) -> None:
    """An entry that was changed, taken out or moved is found, and named by its number."""
    rows = stored(lived())
    touch(rows)

    verdict = verify(rows, chain_hash, GENESIS)

    assert verdict.fault_seq == seq
    assert says in (verdict.fault or "")


def test_every_flipped_bit_is_found() -> None:
    """Whatever bit of whatever entry is flipped, it does not pass."""
    rows = stored(lived())
    for place, row in enumerate(rows):
        raw = bytearray(row.body.encode())
        for at in range(0, len(raw), 7):
            flipped = bytearray(raw)
            flipped[at] ^= 1
            touched = list(rows)
            touched[place] = msgspec.structs.replace(row, body=flipped.decode("latin-1"))
            assert verify(touched, chain_hash, GENESIS).fault_seq == row.seq


def test_lie_with_right_hashes_is_found() -> None:
    """Hashes made anew do not help: a second resolution and a cost that does not follow from its prices are seen."""
    entries = lived()
    settled = next(entry for entry in entries if isinstance(entry, Settled))
    dear = msgspec.structs.replace(settled, amounts=Amounts(10, 999, 1))
    with_lie = [dear if entry is settled else entry for entry in entries]
    assert "prices make 12" in (verify(stored(with_lie), chain_hash, GENESIS).fault or "")

    twice = [*entries[:4], msgspec.structs.replace(settled, seq=5)]
    verdict = verify(stored(twice), chain_hash, GENESIS)
    assert (verdict.fault_seq, "not open" in (verdict.fault or "")) == (5, True)


def test_ledger_whose_beginning_was_forgotten_goes_on_from_a_checkpoint() -> None:
    """After retention has taken the oldest entries, the rest still verifies, and replays to the same balances."""
    entries = lived()
    kept = stored(entries)[5:]

    verdict = verify(kept, chain_hash, GENESIS)

    assert (verdict.fault, verdict.first, verdict.accounts) == (None, 6, 0)
    whole, short = Ledger.replay(entries[:13]), Ledger.replay(entries[12:13])
    assert whole.balance("thread:t") == short.balance("thread:t")


def test_checkpoint_that_holds_what_no_open_hold_holds_is_found() -> None:
    """Where a ledger begins with a checkpoint, nothing before it can be asked: what is held must still add up."""
    place = next(number for number, entry in enumerate(lived()) if isinstance(entry, Checkpoint))
    checkpoint = lived()[place]
    assert isinstance(checkpoint, Checkpoint)
    (balance,) = checkpoint.balances
    wrong = msgspec.structs.replace(checkpoint, balances=(msgspec.structs.replace(balance, held=Amounts(5)),))
    assert verify(stored([checkpoint]), chain_hash, GENESIS).fault is None

    assert "held than the open holds hold" in (verify(stored([wrong]), chain_hash, GENESIS).fault or "")


@pytest.mark.parametrize("gone", [1, 2, 5])
def test_ledger_whose_oldest_entries_were_forgotten_says_where_it_begins(gone: int) -> None:
    """However few entries retention has taken, the rest is right, and the verdict names the first that is there."""
    verdict = verify(stored(lived())[gone:], chain_hash, GENESIS)

    assert (verdict.fault, verdict.first, verdict.last) == (None, gone + 1, 14)


def test_story_of_a_thread_tells_holds_prices_refusals_and_limits() -> None:
    """Each hold is told with what became of it and its price, and each refusal with its scope and numbers."""
    story = explain(lived(), "t")

    assert [(hold.state, hold.charged.tokens, hold.overrun.tokens) for hold in story.holds] == [
        ("settled", 10, 0),
        ("settled", 30, 10),
        ("released", 0, 0),
    ]
    assert story.holds[0].rates == RATES
    assert story.charged == Amounts(40, 12 + 40, 2)
    assert [note.text for note in story.notes] == ["opened", "refused a call", "limits set, revision 2"]
    assert story.notes[1].shortfall is not None
    assert story.notes[1].shortfall.needed == 80
    assert explain(lived(), "other").holds == ()


def test_story_of_a_thread_says_what_its_open_calls_hold() -> None:
    """What has left, and what has not yet, holds its amounts until it is resolved; what is resolved holds nothing."""
    entries = lived()
    ledger = Ledger.replay(entries[:-1], entries.append)
    del entries[13]
    for hold in ("open", "sent"):
        ledger.reserve(hold, ("thread:t",), Amounts(7, 3, 1), 20, call())
    ledger.dispatch("sent", 21)

    assert explain(entries, "t").open_held == Amounts(14, 6, 2)
    assert explain(lived(), "t").open_held == Amounts()
