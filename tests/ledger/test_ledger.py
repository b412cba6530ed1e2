"""The ledger against a reference model of a few lines, over random sequences of commands."""

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from organism.amounts import AMOUNT_MAX, Amounts, Limits, TokenUsage
from organism.budget.policy import Ask, Grant, Headroom, decide
from organism.errors import LedgerStateError, Refusal, UnknownAccountError
from organism.journal import JournalBrokenError
from organism.ledger.entries import AnyEntry, Overran, Reserved, Settled, ThresholdFired, decode_entry
from organism.ledger.ledger import Cost, Ledger
from organism.llm.requests import CompletionRequest
from organism.router.answers.streamed_answer import ON_ITS_WAY, StreamedAnswer

STREAMED = CompletionRequest(model="m", messages=(), max_output_tokens=40)
ACCOUNTS = ("a", "b", "c")
some_accounts = st.lists(st.sampled_from(ACCOUNTS), min_size=1, max_size=3, unique=True).map(tuple)
small = st.integers(0, 60)


class LedgerAgainstModel(RuleBasedStateMachine):
    """The model keeps three dictionaries; the ledger must agree with it after every step."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[AnyEntry] = []
        self.ledger = Ledger(self.entries.append)
        self.limit = dict.fromkeys(ACCOUNTS, 100)
        self.spent = dict.fromkeys(ACCOUNTS, 0)
        self.open: dict[str, tuple[tuple[str, ...], int]] = {}
        self.caps: dict[str, int] = {}
        self.excused: set[str] = set()
        self.number = 0
        for account in ACCOUNTS:
            self.ledger.open(account, Limits(tokens=100), 0)

    def held(self, account: str) -> int:
        return sum(amount for accounts, amount in self.open.values() if account in accounts)

    @rule(target=holds, accounts=some_accounts, tokens=small, cap=st.integers(1, 40))
    def reserve(self, accounts: tuple[str, ...], tokens: int, cap: int) -> str:
        rooms = [
            Headroom(account, balance.limits, balance.spent, balance.held)
            for account in accounts
            for balance in [self.ledger.balance(account)]
        ]
        verdict = decide(rooms, Ask(input_tokens=tokens, output_cap=cap, output_min=5))
        left = min(self.limit[account] - self.spent[account] - self.held(account) for account in accounts)
        expected = min(cap, left - tokens)
        assert isinstance(verdict, Grant) == (expected >= min(5, cap))
        self.number += 1
        name = f"h{self.number}"
        if isinstance(verdict, Grant):
            assert verdict.output_cap == expected
            self.ledger.reserve(name, accounts, verdict.amounts, 0)
            self.open[name] = (accounts, tokens + expected)
            self.caps[name] = expected
        return name

    @rule(hold=consumes(holds), actual=st.integers(0, 120))
    def settle(self, hold: str, actual: int) -> None:
        if hold not in self.open:
            with pytest.raises(LedgerStateError, match="not open"):
                self.ledger.settle(hold, Amounts(actual), Cost(), 0)
            return
        accounts, amount = self.open.pop(hold)
        overrun = self.ledger.settle(hold, Amounts(actual), Cost(), 0)
        assert overrun.tokens == max(0, actual - amount)
        for account in accounts:
            self.spent[account] += actual
            if actual > amount:
                self.excused.add(account)
        with pytest.raises(LedgerStateError, match="not open"):
            self.ledger.release(hold, 0)

    @precondition(lambda self: self.open)
    @rule(hold=consumes(holds), writes=st.integers(0, 400))
    def stream(self, hold: str, writes: int) -> None:
        """Whatever a provider writes, a token a word, it is stopped at its cap; what has come is charged and marked."""
        if hold not in self.open:
            return
        accounts, amount = self.open.pop(hold)
        cap, streamed, written = self.caps[hold], StreamedAnswer(STREAMED), 0
        while written < writes and not streamed.passes(cap):
            streamed.add("word ")
            written += 1
        stopped = streamed.passes(cap)
        assert (written, stopped) == (min(writes, cap + 1), writes > cap), "never before its cap, and at once behind it"
        usage = streamed.usage(amount - cap, cap, 0.0) if stopped else TokenUsage(input=amount - cap, output=written)
        overrun = self.ledger.settle(hold, Amounts(usage.total), Cost(usage=usage, truncated=stopped), 0)
        settled = next(entry for entry in reversed(self.entries) if isinstance(entry, Settled))
        assert (settled.hold_id, settled.truncated) == (hold, stopped)
        assert amount - cap + written <= usage.total
        assert overrun.tokens == max(0, usage.total - amount) <= cap + 4 + ON_ITS_WAY
        for account in accounts:
            self.spent[account] += usage.total
            if stopped:
                self.excused.add(account)

    @rule(hold=consumes(holds))
    def release(self, hold: str) -> None:
        if hold in self.open:
            del self.open[hold]
            self.ledger.release(hold, 0)
        with pytest.raises(LedgerStateError, match="not open"):
            self.ledger.settle(hold, Amounts(1), Cost(), 0)

    @rule(hold=holds)
    def dispatch(self, hold: str) -> None:
        found = self.ledger.hold(hold)
        if found is not None and not found.dispatched:
            self.ledger.dispatch(hold, 0)
        else:
            with pytest.raises(LedgerStateError, match="dispatch"):
                self.ledger.dispatch(hold, 0)

    @rule(account=st.sampled_from(ACCOUNTS), tokens=st.integers(0, 200))
    def change_limit(self, account: str, tokens: int) -> None:
        if tokens < self.spent[account] + self.held(account):
            self.excused.add(account)
        else:
            self.excused.discard(account)
        self.limit[account] = tokens
        self.ledger.set_limits(account, Limits(tokens=tokens), (), 0)

    @precondition(lambda self: self.open)
    @rule(account=st.sampled_from(ACCOUNTS))
    def close_is_refused_while_anything_is_held(self, account: str) -> None:
        if self.held(account):
            with pytest.raises(LedgerStateError, match="open holds"):
                self.ledger.close(account, 0)

    @invariant()
    def balances_are_the_model_s(self) -> None:
        for account in ACCOUNTS:
            balance = self.ledger.balance(account)
            assert (balance.spent.tokens, balance.held.tokens) == (self.spent[account], self.held(account))

    @invariant()
    def nothing_is_overspent(self) -> None:
        for account in ACCOUNTS:
            if account not in self.excused:
                assert self.spent[account] + self.held(account) <= self.limit[account]

    @invariant()
    def balances_are_sums_of_entries(self) -> None:
        accounts_of = {entry.hold_id: entry.accounts for entry in self.entries if isinstance(entry, Reserved)}
        for account in ACCOUNTS:
            charged = sum(
                entry.amounts.tokens
                for entry in self.entries
                if isinstance(entry, Settled | Overran) and account in accounts_of[entry.hold_id]
            )
            assert charged == self.ledger.balance(account).spent.tokens

    @invariant()
    def replay_gives_the_same_ledger(self) -> None:
        again = Ledger.replay(self.entries)
        assert [again.balance(account) for account in ACCOUNTS] == [self.ledger.balance(a) for a in ACCOUNTS]
        assert again.open_holds == self.ledger.open_holds


LedgerAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedgerAgainstModel = LedgerAgainstModel.TestCase


def test_reserve_on_an_unknown_account_touches_none() -> None:
    """A hold is taken on all of its accounts or on none."""
    ledger = Ledger()
    ledger.open("a", Limits(tokens=10), 0)

    with pytest.raises(UnknownAccountError, match="nowhere"):
        ledger.reserve("h", ("a", "nowhere"), Amounts(5), 0)

    assert ledger.balance("a").held == Amounts()


@pytest.mark.parametrize("amounts", [Amounts(-1), Amounts(0, -1), Amounts(0, 0, -1)])
def test_negative_amounts_are_refused(amounts: Amounts) -> None:
    """Nothing can turn a charge into a gift."""
    ledger = Ledger()
    ledger.open("a", Limits(), 0)
    ledger.reserve("open", ("a",), Amounts(1), 0)

    with pytest.raises(LedgerStateError, match="negative"):
        ledger.reserve("h", ("a",), amounts, 0)
    with pytest.raises(LedgerStateError, match="negative"):
        ledger.settle("open", amounts, Cost(), 0)


@pytest.mark.parametrize(
    "amounts", [Amounts(1.5), Amounts(True), Amounts(0, float("nan")), Amounts(0, 0, 2**63), Amounts(0, "1")], ids=str
)
def test_what_is_no_amount_is_never_written(amounts: Amounts) -> None:
    """What no later start would read as an integer of 64 bits is refused before it is an entry, by every command."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("a", Limits(), 0)
    ledger.reserve("open", ("a",), Amounts(1), 0)
    written = len(entries)

    with pytest.raises(LedgerStateError, match="64 bits"):
        ledger.reserve("h", ("a",), amounts, 0)
    with pytest.raises(LedgerStateError, match="64 bits"):
        ledger.settle("open", amounts, Cost(), 0)
    with pytest.raises(LedgerStateError, match="64 bits"):
        ledger.adjust(("a",), amounts, "no amount", 0)

    assert len(entries) == written


def test_a_threshold_is_noted_once_under_a_revision() -> None:
    """However often it is said that a threshold is reached, it is one entry until the limits change."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("a", Limits(tokens=100), 0)

    assert [ledger.fire("a", "tokens", 75, 0) for _ in range(2)] == [True, False]
    assert ledger.fire("a", "usd", 75, 0), "another unit is another threshold"
    ledger.set_limits("a", Limits(tokens=100), [("tokens", 75)], 0)
    assert not ledger.fire("a", "tokens", 75, 0), "it is carried over"
    ledger.set_limits("a", Limits(tokens=200), (), 0)
    assert ledger.fire("a", "tokens", 75, 0)
    assert sum(isinstance(entry, ThresholdFired) for entry in entries) == 3


def test_a_refusal_is_reported_once_under_a_revision() -> None:
    """A loop that asks again and again makes one event, and one more when the limits have changed."""
    ledger = Ledger()
    ledger.open("a", Limits(tokens=100), 0)
    refusal = Refusal("a", "tokens", 100, 90, 0, 20)

    assert [ledger.report(refusal, "t", 0) for _ in range(3)] == [True, False, False]
    ledger.set_limits("a", Limits(tokens=101), (), 0)
    assert [ledger.report(refusal, "t", 0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("unit", range(3), ids=["tokens", "usd", "calls"])
def test_a_correction_leaves_no_account_below_zero(unit: int) -> None:
    """A correction that would make spend negative anywhere changes nothing anywhere."""
    ledger = Ledger()
    for account, spent in (("a", 9), ("b", 5)):
        ledger.open(account, Limits(), 0)
        ledger.reserve(account, (account,), Amounts(9, 9, 9), 0)
        ledger.settle(account, Amounts(spent, spent, spent), Cost(), 0)
    change = [0, 0, 0]
    change[unit] = -6

    with pytest.raises(LedgerStateError, match="negative"):
        ledger.adjust(("a", "b"), Amounts(*change), "an invoice", 0)

    assert [ledger.balance(account).spent for account in ("a", "b")] == [Amounts(9, 9, 9), Amounts(5, 5, 5)]


def test_same_hold_twice_is_refused() -> None:
    """A hold's id is used once at a time."""
    ledger = Ledger()
    ledger.open("a", Limits(), 0)
    ledger.reserve("h", ("a",), Amounts(1), 0)

    with pytest.raises(LedgerStateError, match="open already"):
        ledger.reserve("h", ("a",), Amounts(1), 0)


def test_the_name_of_a_hold_is_given_once() -> None:
    """No two holds of a ledger share a name, be they resolved or the ledger replayed between them."""
    entries: list[AnyEntry] = []
    ledger, names = Ledger(entries.append), []
    ledger.open("a", Limits(), 0)
    for restart in (False, False, True, False):
        if restart:
            ledger = Ledger.replay(entries, entries.append)
        names.append(ledger.new_id("hold"))
        ledger.reserve(names[-1], ("a",), Amounts(tokens=1), 0)
        ledger.release(names[-1], 0)

    assert len(set(names)) == len(names)


def test_entry_that_names_what_is_not_open_is_refused_in_words() -> None:
    """A journal whose entries do not follow from each other is refused with the number of the first, not by a crash."""
    written: list[AnyEntry] = []
    ledger = Ledger(written.append)
    ledger.open("thread:t", Limits(tokens=100), 1)
    ledger.reserve("h", ("thread:t",), Amounts(tokens=5), 2)
    opened, reserved = (msgspec.json.encode(entry) for entry in written)
    Ledger().take_up(opened)
    for body in (reserved, b"{}", b"[]"):
        with pytest.raises(JournalBrokenError, match="organism ledger verify"):
            Ledger().take_up(body)


def test_the_size_of_a_call_is_all_that_it_has_cost() -> None:
    """A call that ran beyond its hold is as large as it was: what the next one takes is foretold from it."""
    ledger = Ledger()
    ledger.open("a", Limits(), 0)
    for hold, actual in (("within", 7), ("beyond", 40)):
        ledger.reserve(hold, ("a",), Amounts(tokens=10, calls=1), 0)
        ledger.dispatch(hold, 1)
        ledger.settle(hold, Amounts(tokens=actual, calls=1), Cost(), 5)
        assert (ledger.balance("a").last_call, ledger.balance("a").last_call_ns) == (Amounts(actual, 0, 1), 4)


def test_each_command_writes_the_next_number() -> None:
    """Every entry follows on the one before it, whatever it says: a start refuses a journal with a gap."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)
    ledger.open("a", Limits(tokens=100), 1)
    ledger.set_limits("a", Limits(tokens=200), (), 2)
    ledger.slice("a", Amounts(50), Amounts(5), Limits(tokens=200), 3)
    for hold in ("h", "g"):
        ledger.reserve(hold, ("a",), Amounts(20, 20, 1), 4)
    ledger.dispatch("h", 5)
    ledger.settle("h", Amounts(30, 20, 1), Cost("settled"), 6)
    ledger.release("g", 7)
    ledger.fire("a", "tokens", 75, 8)
    ledger.report(Refusal("a", "tokens", 100, 40, 0, 80), "t", 9)
    ledger.adjust(("a",), Amounts(-5), "why", 10)
    ledger.let_pass("a", 75, "operator", 11)
    ledger.remark("a", "text", 12)
    assert ledger.checkpoint(13) == 15
    ledger.close("a", 14)

    assert [entry.seq for entry in entries] == list(range(1, 17))


def test_the_largest_amount_is_one() -> None:
    """What 64 bits carry is written, and read again by the next start; one more is not."""
    ledger = Ledger()
    ledger.open("a", Limits(), 0)

    assert ledger.reserve("h", ("a",), Amounts(AMOUNT_MAX), 1).amounts == Amounts(AMOUNT_MAX)
    with pytest.raises(LedgerStateError, match="no amount of 64 bits"):
        ledger.reserve("g", ("a",), Amounts(AMOUNT_MAX + 1), 1)


def test_what_is_noted_about_an_account_needs_the_account() -> None:
    """A remark about none is refused, and nothing is written that a replay would stumble over."""
    entries: list[AnyEntry] = []
    ledger = Ledger(entries.append)

    with pytest.raises(UnknownAccountError, match="no budget is open"):
        ledger.remark("a", "text", 0)
    assert entries == []


def test_a_limit_that_is_passed_again_is_reported_again() -> None:
    """Whoever only watches hears of each whole limit: what was said of the one before does not count for it."""
    ledger = Ledger()
    ledger.open("a", Limits(tokens=100), 0)
    refusal = Refusal("a", "tokens", 100, 90, 0, 20)
    assert ledger.report(refusal, "t", 1)
    assert not ledger.report(refusal, "t", 2)

    ledger.fire("a", "tokens", 95, 3)
    assert not ledger.report(refusal, "t", 3)
    ledger.fire("a", "tokens", 200, 4)
    assert ledger.report(refusal, "t", 4)


def test_in_a_rolling_window_a_refusal_is_reported_again_in_its_time() -> None:
    """After a window's length what was said is out of date, whether a threshold or another refusal comes next."""
    account, hour = "agent:writer@rolling:1h", 3600 * 10**9
    ledger = Ledger()
    ledger.open(account, Limits(tokens=100), 0)
    refusal = Refusal(account, "tokens", 100, 90, 0, 20)
    assert ledger.report(refusal, "t", 2 * hour)
    assert not ledger.report(refusal, "t", 2 * hour + 1)

    ledger.fire(account, "tokens", 75, 4 * hour)
    assert ledger.report(refusal, "t", 4 * hour + 1)


def test_an_entry_of_a_time_before_the_configuration_was_told_apart_is_an_operators() -> None:
    """A limit that an operator has raised stays apart from the configured one, also in journals that do not say so."""
    old = b'{"kind":"LimitsSet","seq":2,"time_ns":1,"account":"a","limits":{"tokens":9},"revision":2,"carried":[]}'
    ledger = Ledger()
    ledger.open("a", Limits(tokens=5), 0)

    ledger.restore((decode_entry(old),))

    balance = ledger.balance("a")
    assert (balance.limits, balance.configured) == (Limits(tokens=9), Limits(tokens=5))


def test_a_call_of_a_journal_that_knew_no_more_is_an_ordinary_one() -> None:
    """What later versions write about a call is absent in older ones: it was a conversation, and kept nothing back."""
    old = (
        b'{"kind":"Reserved","seq":2,"time_ns":1,"hold_id":"h","accounts":["a"],"amounts":{"tokens":9},"call":'
        b'{"thread_id":"t","root_thread_id":"t","agent":"w","message_id":"m","call_id":"c","attempt":1,"provider":"p",'
        b'"model":"m","request_model":"m","input_tokens":5,"output_cap":4,"price_source":null}}'
    )
    entry = decode_entry(old)

    assert isinstance(entry, Reserved)
    assert entry.call is not None
    assert (entry.call.final_reserve_of, entry.call.operation, entry.call.tool, entry.call.last_output) == (
        "",
        "chat",
        "",
        0,
    )
