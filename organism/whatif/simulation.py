"""The balances of a replay, and where on them a recorded call is put. Pure: time and ids are those of the record."""

from collections.abc import Iterator

import msgspec

from organism.amounts import BudgetState
from organism.amounts.account import Account
from organism.budget.account_book import AccountBook
from organism.budget.engine import BudgetEngine
from organism.budget.holds import Spender
from organism.budget.policy import Ask
from organism.budget.scopes import scoped_accounts
from organism.ledger.ledger import Ledger
from organism.pricing.rates import Rates
from organism.router.planning.plan import Degraded, degraded
from organism.whatif.changes import Baseline, Changes
from organism.whatif.recording import RecordedCall
from organism.whatif.repricing import ReplayTarget, Repricing, target_of

_KINDS = ("thread", "agent", "model", "provider", "label", "pool", "organism")
"""The order in which a call holds on its scopes, and so in which one of several that refuse is named."""


class RecordedTime:
    """A clock that shows the instant of the entry that is being replayed."""

    def __init__(self) -> None:
        self.time_ns = 0

    def now_ns(self) -> int:
        """Return the instant, nanoseconds since the Unix epoch."""
        return self.time_ns

    def monotonic_ns(self) -> int:
        """Return the same: recorded instants never go back."""
        return self.time_ns


class ReplayedLedger(Ledger):
    """A ledger in which a hold keeps the id that it was recorded with, so that it is found again at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.hold_id = ""

    def new_id(self, prefix: str) -> str:  # noqa: ARG002 - it has its name already
        """Return the id of the recorded hold."""
        return self.hold_id


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded call where it would have gone.

    Attributes:
        spender: On whose behalf.
        target: Where it goes.
        rates: Its prices instead of the recorded ones; ``None`` if it keeps those.
        accounts: What it holds on.
        ask: Its worst case.
        degraded: How its model was replaced because the budget runs low.
    """

    spender: Spender
    target: ReplayTarget
    rates: Rates | None
    accounts: tuple[str, ...]
    ask: Ask
    degraded: tuple[Degraded, ...]


class Simulation:
    """The accounts of a replay.

    Args:
        baseline: How the organism is set up.

    Attributes:
        clock: Shows the instant of the present entry.
        ledger: The balances as they would have been.
        book: What is known of its accounts.
        engine: Decides about calls.
    """

    def __init__(self, changes: Changes, baseline: Baseline) -> None:
        self._changes = changes
        self._baseline = baseline
        self._repricing = Repricing(changes, baseline)
        self.clock = RecordedTime()
        self.ledger = ReplayedLedger()
        self.book = AccountBook(baseline.plan, self.ledger, self.clock, baseline.thresholds)
        self.engine = BudgetEngine(self.book, self.ledger, self.clock, changes.mode)

    def place(self, recorded: RecordedCall) -> Placed:
        """Say where a call goes at this instant, at which price, and on which accounts.

        Raises:
            ConfigError: If a model or a price is not known.
        """
        call, target = recorded.call, self._repricing.target(recorded)
        accounts = self._accounts(recorded, target)
        steps: list[Degraded] = []
        while (step := self._degraded(target, accounts)) is not None:
            if (cheaper := self._cheaper(recorded, step)) is None:
                break
            steps.append(step)
            target, accounts = cheaper, self._accounts(recorded, cheaper)
        rates = self._repricing.rates(recorded, target)
        return Placed(
            spender=Spender(call.thread_id, call.agent, target.model, target.provider),
            target=target,
            rates=rates,
            accounts=accounts,
            ask=self._repricing.ask(recorded, rates),
            degraded=tuple(steps),
        )

    def _degraded(self, target: ReplayTarget, accounts: tuple[str, ...]) -> Degraded | None:
        """Return what takes a model's place; by limits in mode ``enforce`` only, as for calls that are made."""
        plan = self._baseline.models.get(target.model)
        return degraded(plan, self._states(accounts), self.book.actions_of) if plan else None

    def _cheaper(self, recorded: RecordedCall, step: Degraded) -> ReplayTarget | None:
        """Return where a call goes that steps down; ``None`` where it stays, since no route there has a price."""
        for target in self._repricing.served(step.to_model):
            if self._repricing.is_priced(recorded, target) or not self._needs_price(self._accounts(recorded, target)):
                return target
        return None

    def _needs_price(self, accounts: tuple[str, ...]) -> bool:
        """Whether a limit in USD would refuse a call without a price."""
        return self._baseline.refuse_unpriced and any(
            state.limits.cost_nanousd is not None for state in self._states(accounts)
        )

    def _states(self, accounts: tuple[str, ...]) -> Iterator[BudgetState]:
        return (self.book.state(account) for account in accounts if self.engine.mode_of(account) == "enforce")

    def _accounts(self, recorded: RecordedCall, target: ReplayTarget) -> tuple[str, ...]:
        """Return what a call holds on: what it was recorded on, but for a model or provider it does not go to."""
        went, call = target_of(recorded), recorded.call
        left = {"model"} if target.model != went.model else set()
        left |= {"provider"} if target.provider != went.provider else set()
        if not left:
            return recorded.accounts
        accounts = [account for account in recorded.accounts if _kind(account) not in left]
        spender = Spender(call.thread_id, call.agent, target.model, target.provider)
        now_ns = self.clock.now_ns()
        for account, limits in scoped_accounts(self._baseline.plan, call.root_thread_id, spender, now_ns, {}):
            if _kind(account) in left:
                self.ledger.open(account, limits, now_ns)
                accounts.append(account)
        return tuple(sorted(accounts, key=lambda account: _KINDS.index(_kind(account))))


def _kind(account: str) -> str:
    return Account.parse(account).kind
