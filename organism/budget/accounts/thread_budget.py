"""An open thread's budget, beside its balances. Pure."""

from collections.abc import Mapping

from organism.amounts.account import Account
from organism.budget.scopes import LabelLimits
from organism.errors import Refusal


class ThreadBudget:
    """One open thread's budget, beside its balances.

    Attributes:
        root: The thread at the top of its tree.
        parent: The thread that spawned it.
        accounts: Its own account and those of the ancestors it shares with.
        carve: The hold on its ancestors that its whole limit was carved from.
        open_ns: Nanoseconds open until it was parked last.
        running_since_ns: Since when it runs; ``None`` while parked.
        scoped: Accounts of agents, models and windows it has used.
        labels: What its root thread was labelled with.
        stopped: Why it may not spend although it has the budget, if a breaker has paused it.
        earlier: Whether an earlier process has opened it, so that it may have used windows that nobody has noted.
    """

    __slots__ = (
        "accounts",
        "carve",
        "earlier",
        "labels",
        "open_ns",
        "parent",
        "root",
        "running_since_ns",
        "scoped",
        "stopped",
    )

    def __init__(self, root: str, parent: str | None, accounts: tuple[str, ...], now_ns: int) -> None:
        self.root = root
        self.parent = parent
        self.accounts = accounts
        self.carve: str | None = None
        self.earlier = False
        self.open_ns = 0
        self.running_since_ns: int | None = now_ns
        self.scoped: set[str] = set()
        self.labels: Mapping[str, str] = {}
        self.stopped: Refusal | None = None

    def elapsed_ns(self, now_ns: int) -> int:
        """Return nanoseconds open and not parked."""
        return self.open_ns + (now_ns - self.running_since_ns if self.running_since_ns is not None else 0)

    def pause(self, now_ns: int) -> None:
        """Stop its wall time."""
        self.open_ns = self.elapsed_ns(now_ns)
        self.running_since_ns = None

    def resume(self, now_ns: int) -> None:
        """Let its wall time run on; one that runs is left alone."""
        if self.running_since_ns is None:
            self.running_since_ns = now_ns


def may_count(budget: ThreadBudget, account: Account, labels: Mapping[str, LabelLimits]) -> bool:
    """Whether calls of a thread may count on an account of a window: not if its labels are others.

    Args:
        budget: The thread's.
        account: The account.
        labels: What is limited by label.
    """
    label, value = account.label
    if account.kind == "label":
        return budget.labels.get(label) == value
    pools = labels[label].pools if account.kind == "pool" and label in labels else {}
    return account.kind != "pool" or (value in pools and budget.labels.get(label) in pools[value].values)
