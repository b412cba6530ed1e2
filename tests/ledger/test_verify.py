"""A ledger that was touched is found out, and one that was not tells where a thread's budget has gone."""

from collections.abc import Callable

import msgspec
import pytest

from organism.amounts import Amounts, Limits, TokenUsage
from organism.errors import ConfigError, Refusal
from organism.journal import StoredEntry
from organism.ledger.entries import AccountClosed, AccountOpened, AnyEntry, CallRecord, Checkpoint, Settled
from organism.ledger.explain import explain
from organism.ledger.ledger import Cost, Ledger
from organism.ledger.verify import Anchor, anchors_text, parse_anchors, verify
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
    assert (verdict.entries, verdict.first, verdict.last, verdict.accounts, verdict.open_holds) == (14, 1, 14, 0, 0)


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


def held_on_two(entries: list[AnyEntry]) -> Ledger:
    ledger = Ledger(entries.append)
    for account in ("thread:t", "day"):
        ledger.open(account, Limits(tokens=100), 1)
    ledger.reserve("h1", ("thread:t", "day"), Amounts(20, 40, 1), 2, call())
    return ledger


def test_what_a_call_holds_on_several_accounts_adds_up() -> None:
    """A call counts on its thread and on a day; a ledger that begins with a checkpoint in its midst is right."""
    entries: list[AnyEntry] = []
    held_on_two(entries).checkpoint(3)

    verdict = verify(stored(entries)[3:], chain_hash, GENESIS)

    assert (verdict.fault, verdict.entries, verdict.open_holds) == (None, 1, 1)


def opened_again(seq: int) -> AnyEntry:
    return AccountOpened(seq=seq, time_ns=3, account="day", limits=Limits(tokens=100))


def closed_in_use(seq: int) -> AnyEntry:
    return AccountClosed(seq=seq, time_ns=3, account="day", spent=Amounts())


def charged_less_than_nothing(seq: int) -> AnyEntry:
    return Settled(seq=seq, time_ns=3, hold_id="h1", amounts=Amounts(-5), source="settled")


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (opened_again, "opens day a second time"),
        (closed_in_use, "closes day, which carries holds"),
        (charged_less_than_nothing, "makes a balance of thread:t negative"),
    ],
)
def test_an_entry_that_makes_room_that_nobody_has_is_named(lie: Callable[[int], AnyEntry], says: str) -> None:
    """An account whose holds are forgotten, or a charge below zero, is found at its own entry, not at a later one."""
    entries: list[AnyEntry] = []
    held_on_two(entries)
    entries.append(lie(4))

    verdict = verify(stored(entries), chain_hash, GENESIS)

    assert (verdict.fault_seq, verdict.fault) == (4, says)


@pytest.mark.parametrize(("priced", "says"), [(True, "for a usage of 10"), (False, "for a usage of 10"), (None, None)])
def test_tokens_that_were_charged_are_those_of_the_answer(priced: bool | None, says: str | None) -> None:
    """Also where nobody knows the price; a call without an answer has no usage, and is charged what it held."""
    entries: list[AnyEntry] = []
    ledger = held_on_two(entries)
    usage = None if priced is None else TokenUsage(input=8, output=2)
    ledger.settle("h1", Amounts(9, 12, 1), Cost("settled", usage=usage, rates=RATES if priced else None), 3)

    found = verify(stored(entries), chain_hash, GENESIS).fault

    assert (found is None) if says is None else says in (found or "")


def anchor_of(rows: list[StoredEntry], place: int) -> Anchor:
    return Anchor(rows[place].seq, rows[place].hash)


def test_what_was_cut_off_since_it_was_checked_is_found() -> None:
    """The anchor of a check says what must be there: a ledger without its newest entries is right only in itself."""
    rows = stored(lived())

    assert verify(rows[:-2], chain_hash, GENESIS).fault is None
    cut = verify(rows[:-2], chain_hash, GENESIS, anchor_of(rows, -1))
    assert (cut.fault_seq, "newest are missing" in (cut.fault or "")) == (12, True)
    assert verify(rows, chain_hash, GENESIS, anchor_of(rows, -1)).fault is None


def test_an_anchor_holds_for_as_long_as_its_entry_is_kept() -> None:
    """The oldest entry that retention has left can be the anchor's; of an older one nothing is known."""
    rows = stored(lived())

    assert verify(rows[4:], chain_hash, GENESIS, anchor_of(rows, 4)).fault is None
    assert "older than all that are kept" in (verify(rows[4:], chain_hash, GENESIS, anchor_of(rows, 3)).fault or "")


def test_anchors_are_read_as_they_are_written() -> None:
    """One for a journal of its own, or one for each partition of a cluster; an empty partition has none."""
    one, other = (str(Anchor(number, bytes([number]) * 32)) for number in (41, 7))

    assert anchors_text({None: one}) == one
    assert parse_anchors(one) == {None: Anchor.parse(one)}
    assert anchors_text({0: one, 2: "", 3: other}) == f"0={one},3={other}"
    assert parse_anchors(f"0={one}, 3={other}") == {0: Anchor.parse(one), 3: Anchor.parse(other)}
    for wrong in (f"x={one}", f"={one}", f"²={one}", "0=1:2", ""):
        with pytest.raises(ConfigError, match="is no anchor"):
            parse_anchors(wrong)


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

    assert "held than its open holds hold" in (verify(stored([wrong]), chain_hash, GENESIS).fault or "")


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


def test_story_of_a_thread_tells_what_was_held_for_others_on_its_account_and_for_it_on_another() -> None:
    """A carved child holds without a call; a child that shares its parent's budget holds on the parent's account."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("thread:t", Limits(tokens=100), 1)
    ledger.reserve("carved", ("thread:t",), Amounts(7), 2)
    ledger.reserve("shared", ("thread:t",), Amounts(5), 3, call("child"))

    assert [hold.held.tokens for hold in explain(entries, "t").holds] == [7, 5]
    assert [hold.held.tokens for hold in explain(entries, "child").holds] == [5]
    assert explain(entries, "other").holds == ()


def test_story_of_a_thread_tells_who_refused_it_and_what_was_corrected() -> None:
    """A refusal on the day of an agent is told to the thread that was refused, and to no other."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    for account in ("thread:t", "thread:u", "agent:writer@day:2026-01-01"):
        ledger.open(account, Limits(tokens=100), 1)
    ledger.adjust(("thread:t",), Amounts(30, 2_000_000_000), "twice", 2)
    ledger.adjust(("thread:t",), Amounts(-10), "once again", 3)
    ledger.report(Refusal("agent:writer@day:2026-01-01", "tokens", 100, 40, 0, 80), "t", 4)
    ledger.fire("thread:t", "tokens", 75, 5)
    ledger.fire("thread:t", "tokens", 95, 6, call_size=50)

    assert [note.text for note in explain(entries, "t").notes][1:] == [
        "adjusted by +30 tokens, +$2.00: twice",
        "adjusted by -10 tokens: once again",
        "refused a call",
        "75 % of tokens reached",
        "95 % of tokens warned of ahead",
    ]
    assert [note.text for note in explain(entries, "u").notes] == ["opened"]
