"""Accounts as an operator names and changes them."""

from collections.abc import Callable
from heapq import nlargest, nsmallest
from itertools import islice
from typing import Annotated, Literal
from urllib.parse import unquote

import msgspec
from msgspec.structs import asdict

from organism.amounts import AMOUNT_MAX, NS_PER_S, UNLIMITED, ZERO, BudgetState, Limits, nanousd
from organism.amounts.account import Account
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.scopes import present_account, window_accounts, window_end_ns
from organism.control.listing.account_page import SCOPED_MAX, fullness
from organism.control.views import AccountState, TimedGrant
from organism.errors import ConfigError, UnknownAccountError
from organism.ledger.ledger import Ledger

_PERCENT_MAX = 1_000_000
_WHOLE = ("organism", "thread")
_LOOKED_AT = 2_000

AccountKind = Literal["organism", "thread", "agent", "model", "provider", "label", "pool"]
"""What an account is of."""


class AccountFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts are wanted; each condition that is given must hold.

    Attributes:
        kinds: Of one of these; any when none is named.
        search: Words that each stand somewhere in its name, in any case.
    """

    kinds: frozenset[AccountKind] = frozenset()
    search: str = ""

    def has(self, account: str) -> bool:
        """Whether an account is wanted, by its name alone: there may be as many as there are values of a label."""
        if self.kinds and Account.parse(account).kind not in self.kinds:
            return False
        name = unquote(account).casefold() if self.search else ""
        return all(word in name for word in self.search.casefold().split())


class LimitsChange(msgspec.Struct, frozen=True, kw_only=True):
    """How far limits move; what is left out stays.

    Attributes:
        tokens: So many tokens more, or with a minus less.
        cost_nanousd: So much money more or less.
        elapsed_ns: So much time more or less.
        calls: So many calls more or less.
        percent: So many per cent of every limit more or less; rounded up.
    """

    tokens: int = 0
    cost_nanousd: int = 0
    elapsed_ns: int = 0
    calls: int = 0
    percent: Annotated[int, msgspec.Meta(ge=-100, le=_PERCENT_MAX)] = 0

    def applied(self, limits: Limits) -> Limits:
        """Return limits moved by this much, never below zero.

        Raises:
            ConfigError: If a unit is to be moved that is not limited, or beyond what 64 bits hold, or nothing would
                be raised: so many per cent of nothing.
        """
        moved: dict[str, int | None] = {}
        for name in Limits.__struct_fields__:
            limit, by = getattr(limits, name), getattr(self, name)
            if limit is None:
                if by:
                    raise ConfigError(f"{name} is not limited here; set a limit before moving it")
                moved[name] = None
                continue
            fresh = max(0, limit + by + -(-limit * self.percent // 100))
            if fresh > AMOUNT_MAX:
                raise ConfigError(f"{name} would be more than 64 bits hold")
            moved[name] = fresh
        if self.percent > 0 and Limits(**moved) == limits != UNLIMITED:
            raise ConfigError(
                f"{self.percent} % of a limit of nothing is nothing; raise it by an amount", path="percent"
            )
        return Limits(**moved)


class Accounts:
    """Looks accounts up, those too that no call has opened yet.

    Args:
        now_ns: Tells the time, nanoseconds since the Unix epoch.
        grants: What of an account's limits a person has granted for a while.
    """

    def __init__(
        self,
        budgets: ThreadBudgetRegistry,
        ledger: Ledger,
        now_ns: Callable[[], int],
        grants: Callable[[str], tuple[TimedGrant, ...]],
    ) -> None:
        self._budgets = budgets
        self._book = budgets.accounts
        self._ledger = ledger
        self._now_ns = now_ns
        self._grants = grants

    def windows(self, now_ns: int) -> tuple[AccountState, ...]:
        """Return the accounts of the present windows."""
        return tuple(self.shown(self.state(account, now_ns)) for account in self._windows(now_ns))

    def scoped(self, now_ns: int) -> tuple[AccountState, ...]:
        """Return those that are neither a thread's nor the organism's, of present windows, the fullest first.

        Of those opened last: there may be as many as there are values of a label, and this is asked every few seconds.
        """
        latest = islice(reversed(self._ledger.accounts), _LOOKED_AT)
        present = (name for name in latest if Account.parse(name).kind not in _WHOLE and not self._book.over(name))
        found = (self.state(name, now_ns) for name in present)
        return tuple(self.shown(state) for state in nlargest(SCOPED_MAX, found, key=fullness))

    def all(self, now_ns: int) -> tuple[AccountState, ...]:
        """Return every account there is, oldest first, and the windows that have not been used yet."""
        names = dict.fromkeys((*self._ledger.accounts, *self._windows(now_ns)))
        return tuple(self.shown(self.state(account, now_ns)) for account in names)

    def page(self, wanted: AccountFilter, now_ns: int, limit: int, after: str = "") -> tuple[AccountState, ...]:
        """Return the wanted accounts whose names come next behind one, in the order of their names.

        Only those of the page are described. A name stays where it is, whatever is opened and closed meanwhile.
        """
        names = {*self._ledger.accounts, *self._windows(now_ns)}
        page = nsmallest(limit, (name for name in names if name > after and wanted.has(name)))
        return tuple(self.shown(self.state(account, now_ns)) for account in page)

    def shown(self, state: BudgetState) -> AccountState:
        """Return an account with what happens on it as its limits come near."""
        account, book = state.account, self._book
        known = self._ledger.has(account)
        return AccountState(
            **asdict(state),
            mode=self._budgets.mode_of(account),
            thresholds=book.thresholds_of(account),
            actions=book.actions_of(account),
            passed=max(self._ledger.balance(account).passed_at(self._now_ns()), default=0) if known else 0,
            warning=book.warnings.standing((account,)) if known else None,
            granted=self._grants(account),
        )

    def state(self, account: str, now_ns: int) -> BudgetState:
        """Return an account.

        Raises:
            UnknownAccountError: If there is none of that name.
        """
        if self._ledger.has(account):
            return self._budgets.state(account)
        present, limits = present_account(self._budgets.plan, account, now_ns) or ("", UNLIMITED)
        thread = Account.parse(present).within_thread
        if present != account or (thread and not self._is_root(thread)):
            raise UnknownAccountError(account, present if present != account else "")
        ends_ns = window_end_ns(account, self._budgets.plan.time_zone)
        return BudgetState(account, limits, ZERO, ZERO, resets_ns=ends_ns)

    def open(self, account: str, now_ns: int) -> None:
        """Make sure that an account can be given limits and be corrected, though no call has held on it yet.

        Raises:
            UnknownAccountError: If there is none of that name.
        """
        if self._ledger.has(account):
            return
        self._book.open(account, self.state(account, now_ns).limits, now_ns)
        if thread := Account.parse(account).within_thread:
            self._book.threads[thread].scoped.add(account)  # it is closed with it

    def _windows(self, now_ns: int) -> tuple[str, ...]:
        return tuple(account for account, _ in window_accounts(self._budgets.plan, now_ns))

    def _is_root(self, thread_id: str) -> bool:
        budget = self._book.threads.get(thread_id)
        return budget is not None and budget.parent is None


def seconds_ns(seconds: int | None) -> int | None:
    """Return seconds in nanoseconds."""
    return None if seconds is None else seconds * NS_PER_S


def usd_nano(usd: str | None) -> int | None:
    """Return dollars, written as text, in nano-USD; a minus is kept.

    Raises:
        ConfigError: If the text is no amount.
    """
    if usd is None:
        return None
    try:
        return -nanousd(usd[1:]) if usd.startswith("-") else nanousd(usd.removeprefix("+"))
    except ValueError as error:
        raise ConfigError(str(error), path="usd") from None
