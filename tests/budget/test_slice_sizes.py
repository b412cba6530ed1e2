"""Slices of a limit that partitions share: together never more than the limit, and no one kept from what is free."""

from hypothesis import given
from hypothesis import strategies as st

from organism.amounts import ZERO, Amounts, Limits
from organism.budget.accounts.shared_limits import SharedLimits, SliceAnswer
from organism.budget.accounts.slice_sizes import given_back, is_shared, taken
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import BudgetPlan, actions_of
from organism.errors import Refusal
from organism.ledger.ledger import Cost, Ledger
from organism.testing import ManualClock

ALL = "organism@lifetime"
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 2000)), max_size=60)


@given(limit=st.integers(0, 300), steps=STEPS)
def test_all_slices_together_are_granted_and_never_more_than_the_limit(
    limit: int, steps: list[tuple[int, int, int]]
) -> None:
    """Whoever asks in whatever order: what is free is never kept from one who needs it, nor given twice."""
    slices, used = [0] * 4, [0] * 4
    for partition, need, want in steps:
        lacks = max(0, need - (slices[partition] - used[partition]))
        free = limit - sum(slices)
        got = taken(want, lacks, free, 4)
        assert min(lacks, free) <= got <= free
        slices[partition] += got
        if lacks > got:  # the others are asked, and give back until it fits or they have nothing that they do not use
            for other in range(4):
                missing = need - (slices[partition] - used[partition])
                if other != partition and missing > 0:
                    slices[other] -= given_back(slices[other] - used[other], missing)
                    slices[partition] += taken(0, missing, limit - sum(slices), 4)
        fits = need <= slices[partition] - used[partition]
        assert fits == (sum(used) + need <= limit), "a call is refused exactly where all together have no room"
        used[partition] += need if fits else 0
        assert sum(slices) <= limit
        assert all(spent <= slice_ for spent, slice_ in zip(used, slices, strict=True))


def test_what_is_shared_is_what_several_threads_use() -> None:
    """A thread's own accounts and the limit of each call are no matter of other partitions."""
    shared = ("organism@day:2026-11-24", ALL, "label:tenant=a@rolling:6h", "agent:a@month:2026-11")
    assert all(map(is_shared, shared))
    assert not any(map(is_shared, ("thread:t", "agent:a@thread:t", "organism@call", "model:m@call")))


class Partition:
    """The budgets of one partition with a limit of tokens that all share."""

    def __init__(self, limit: int) -> None:
        self.ledger, self.clock, self.asked = Ledger(), ManualClock(), 0
        plan = BudgetPlan(windows={"lifetime": Limits(tokens=limit)}, warn_ahead=0)
        self.registry = ThreadBudgetRegistry(plan, self.ledger, self.clock, wait_s=0)
        self.shared = SharedLimits(
            self.ledger,
            self.clock,
            lambda _: self.registry.mode == "enforce",
            lambda account: actions_of(self.registry.plan, account),
            self._ask,
        )
        self.registry.slices.share(self.shared)
        self.registry.open_thread("t")

    def _ask(self) -> None:
        self.asked += 1

    def admit(self, tokens: int, least: int = 1) -> GrantedHold | Refusal:
        """Ask for a call of so many tokens of output."""
        ask = Ask(input_tokens=0, output_cap=tokens, output_min=least)
        spender = Spender("t", "a", "m")
        return self.registry._engine.admit(spender, ask, None, self.registry.accounts.accounts(spender))

    def told(self, slice_: int, elsewhere: int, *, scarce: bool) -> None:
        """Take in what the others have answered."""
        balance = self.ledger.balance(ALL)
        self.shared.answers[ALL] = SliceAnswer(self.clock.monotonic_ns(), scarce=scarce, since_ns=0)
        self.registry.slices.set_slice(ALL, Amounts(slice_), Amounts(elsewhere), balance.limits)


def test_a_call_waits_for_a_slice_that_holds_all_of_it() -> None:
    """No answer is cut because a slice is small, as long as there may be more."""
    partition = Partition(1000)
    waits = partition.admit(100)
    assert isinstance(waits, Refusal)
    assert (waits.account, waits.limit, waits.spent, waits.held) == (ALL, 1000, 0, 1000)
    assert (partition.shared.needs, partition.asked) == ({ALL: Amounts(100)}, 1)
    partition.told(60, 0, scarce=False)
    assert isinstance(partition.admit(100), Refusal)
    partition.told(100, 0, scarce=False)
    held = partition.admit(100)
    assert isinstance(held, GrantedHold)
    assert held.output_cap == 100


def test_a_call_takes_what_there_is_where_others_use_the_rest() -> None:
    """As on one machine an answer is cut to what the others leave, and refused where that is nothing of use."""
    partition = Partition(1000)
    partition.admit(1)
    partition.told(60, 500, scarce=True)
    held = partition.admit(100)
    assert isinstance(held, GrantedHold)
    assert held.output_cap == 60
    refused = partition.admit(100, least=80)
    assert isinstance(refused, Refusal)
    assert (refused.limit, refused.spent, refused.held) == (1000, 500, 500)  # 60 here, and 440 that others hold


def test_a_call_that_can_never_fit_is_refused_at_once() -> None:
    """Where all partitions have spent the limit nobody waits, and the numbers are those of the whole limit."""
    partition = Partition(1000)
    partition.admit(1)
    partition.told(50, 960, scarce=False)
    refused = partition.admit(100, least=80)
    assert isinstance(refused, Refusal)
    assert (refused.limit, refused.spent, refused.held) == (1000, 960, 0)


def test_a_limit_of_nothing_is_told_as_nothing() -> None:
    """Who waits for a slice of a limit that was set to nothing is not told that there is a little."""
    waits = Partition(0).admit(10)

    assert isinstance(waits, Refusal)
    assert (waits.account, waits.limit, waits.spent, waits.needed) == (ALL, 0, 0, 10)


def test_what_was_charged_beyond_a_slice_is_asked_for_too() -> None:
    """What was taken beyond a slice is made good, also by a call that takes nothing of that unit.

    Else that call would be refused until the window ends, whatever there is. Found by simulated clusters, seed 1061.
    """
    partition = Partition(1000)
    partition.admit(1)
    partition.told(100, 0, scarce=False)
    held = partition.admit(100)
    assert isinstance(held, GrantedHold)
    partition.registry.settle(held, Amounts(150), Cost())
    partition.shared.needs.clear()
    assert isinstance(partition.admit(0, least=0), Refusal)
    assert partition.shared.needs == {ALL: ZERO}
    assert partition.shared.lacking(partition.ledger.balance(ALL), Amounts(10)) == Amounts(60)
    partition.told(150, 0, scarce=False)
    assert isinstance(partition.admit(0, least=0), GrantedHold)


def test_what_is_not_fresh_is_asked_again() -> None:
    """Room that has come back elsewhere, as when a window has moved on, is found."""
    partition = Partition(1000)
    partition.admit(1)
    partition.told(0, 1000, scarce=True)
    assert partition.admit(10).held == 0  # type: ignore[union-attr]
    partition.clock.advance(2.0)
    partition.shared.needs.clear()
    assert partition.admit(10).held == 1  # type: ignore[union-attr]
    assert partition.shared.needs == {ALL: Amounts(10)}


def test_thresholds_are_those_of_what_all_have_spent() -> None:
    """No partition warns by its own slice, and none by itself: one of all does, and each notes it for its agents."""
    partition = Partition(1000)
    partition.admit(1)
    partition.told(100, 700, scarce=False)
    held = partition.admit(60)
    assert isinstance(held, GrantedHold)
    settled = partition.registry.settle(held, Amounts(60), Cost())
    assert settled.warnings == ()
    ((key, (due, _)),) = partition.shared.dues.items()
    assert key == (ALL, "tokens", 75)
    (warning,) = partition.registry.accounts.warnings.note(ALL, due, "a")
    assert (warning.threshold, warning.limit, warning.spent) == (75, 1000, 760)
    assert partition.registry.accounts.warnings.note(ALL, due, "a") == ()


def test_a_replayed_partition_has_the_slice_that_it_had() -> None:
    """Entries and checkpoints alike bring back what a partition may use; those without one are of one machine."""
    partition = Partition(1000)
    entries: list[object] = []
    written = Ledger(entries.append)
    written.open(ALL, Limits(tokens=1000), 1)
    written.slice(ALL, Amounts(100), Amounts(300), Limits(tokens=1000), 2)
    written.checkpoint(3)
    for some in (entries[:2], entries[2:]):
        balance = Ledger.replay(some).balance(ALL)  # type: ignore[arg-type]
        assert (balance.slice, balance.elsewhere, balance.agreed) == (Amounts(100), Amounts(300), Limits(tokens=1000))
    assert partition.ledger.accounts == ("thread:t",)
    assert written.balance(ALL).total_at(9) == Amounts(300) != ZERO


def test_what_is_shown_as_spent_is_what_was_heard_last_and_not_what_is_noted() -> None:
    """The ledger notes larger steps only; until something was heard, as after a start, they are what is known."""
    partition = Partition(1000)
    partition.admit(100)
    assert partition.registry.state(ALL).spent == ZERO
    partition.told(100, 300, scarce=False)
    assert partition.registry.state(ALL).spent == Amounts(300)
    partition.shared.heard[ALL] = Amounts(307)
    assert partition.registry.state(ALL).spent == Amounts(307)
    assert partition.registry.state("thread:t").spent == ZERO
