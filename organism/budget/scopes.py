"""Which accounts does a call hold on? Pure: limits in the configuration become named accounts.

A call of a thread holds on the thread and all its ancestors, on what is limited for its agent, its model and the
provider it goes to, and on the organism's windows. Their names say what they are: ``thread:th_1``,
``agent:writer@thread:th_1``, ``model:main@day:2026-11-24``, ``provider:openai@day:2026-11-24``,
``organism@month:2026-11``. A window's account is named by its period, so a new period
simply is another account; nothing is ever set back to zero.
"""

import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Literal, cast

import msgspec
from msgspec.structs import force_setattr

from organism.amounts import NS_PER_S, UNLIMITED, Limits
from organism.budget.holds import Spender

Window = Literal["day", "month"]
Per = Literal["thread", "day", "month"]

_THREAD = "thread:"

DEFAULT_TOKENS_PER_THREAD = 100_000
"""What a thread may use when nothing else is said: enough for a real task, small enough to notice a loop."""


class ScopedLimits(msgspec.Struct, frozen=True):
    """Limits of one agent, model or provider, and what they are counted over."""

    limits: Limits
    per: Per = "thread"


class BudgetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All limits of one organism.

    Attributes:
        thread: What each root thread may use.
        windows: What all threads together may use per day or month.
        agents: Limits by agent name.
        models: Limits by model name.
        providers: Limits by provider name. A call that one of them refuses goes to the model's next provider.
        time_zone: Where days and months begin.
        final_reserve_percent: Per cent of a thread's tokens and USD reserved for a call after the final warning.
        wrap_up_percent: The name it had first.
    """

    thread: Limits = Limits(tokens=DEFAULT_TOKENS_PER_THREAD)
    windows: Mapping[Window, Limits] = {}
    agents: Mapping[str, ScopedLimits] = {}
    models: Mapping[str, ScopedLimits] = {}
    providers: Mapping[str, ScopedLimits] = {}
    time_zone: tzinfo = UTC
    final_reserve_percent: int = 5
    wrap_up_percent: int | None = None

    def __post_init__(self) -> None:
        """Take the reserve from the name it had first."""
        if self.wrap_up_percent is not None:
            warnings.warn("wrap_up_percent is now final_reserve_percent", DeprecationWarning, stacklevel=2)
            force_setattr(self, "final_reserve_percent", self.wrap_up_percent)
            force_setattr(self, "wrap_up_percent", None)

    @property
    def scoped(self) -> bool:
        """Whether anything but threads is limited."""
        return bool(self.agents or self.models or self.providers or self.windows)


def has_final_reserve(account: str) -> bool:
    """Whether an account has a final reserve: threads have, other scopes have not."""
    return account.startswith(_THREAD)


def thread_account(thread_id: str) -> str:
    """Return the name of a thread's own account."""
    return f"{_THREAD}{thread_id}"


def thread_of(account: str) -> str | None:
    """Return the thread whose own account this is, or ``None``."""
    return account.removeprefix(_THREAD) if account.startswith(_THREAD) else None


def period(window: Window, now_ns: int, time_zone: tzinfo) -> str:
    """Return the name of the window that an instant falls into, such as ``day:2026-11-24``."""
    local = datetime.fromtimestamp(now_ns // NS_PER_S, time_zone)
    return f"day:{local:%Y-%m-%d}" if window == "day" else f"month:{local:%Y-%m}"


def of_provider(account: str) -> bool:
    """Whether an account limits a provider, so that going to another one helps."""
    return account.startswith("provider:")


def of_organism(account: str) -> bool:
    """Whether an account counts what all threads together use in a window."""
    return account.startswith("organism@")


def is_over(account: str, now_ns: int, time_zone: tzinfo) -> bool:
    """Whether an account counts a day or month that has passed, so that what waits for it need not wait any more."""
    over = account.rpartition("@")[2]
    window = over.partition(":")[0]
    return window in ("day", "month") and over != period(cast("Window", window), now_ns, time_zone)


def window_end_ns(account: str, time_zone: tzinfo) -> int | None:
    """Return the first instant after the day or month that an account counts; ``None`` if it counts neither."""
    window, _, began = account.rpartition("@")[2].partition(":")
    match window:
        case "day":
            after = date.fromisoformat(began) + timedelta(days=1)
        case "month":
            after = (date.fromisoformat(f"{began}-01") + timedelta(days=31)).replace(day=1)
        case _:
            return None
    return int(datetime(after.year, after.month, after.day, tzinfo=time_zone).timestamp()) * NS_PER_S


def agent_of(account: str) -> str | None:
    """Return the agent that an account limits, or ``None``."""
    return account.removeprefix("agent:").rpartition("@")[0] if account.startswith("agent:") else None


def planned_limits(plan: BudgetPlan, account: str) -> Limits:
    """Return what a plan says of an account that is no thread's; no limit where it says nothing."""
    scope, _, over = account.partition("@")
    kind, _, name = scope.partition(":")
    if kind == "organism":
        return next((limits for window, limits in plan.windows.items() if over.startswith(window)), UNLIMITED)
    by_name = {"agent": plan.agents, "model": plan.models, "provider": plan.providers}.get(kind, {})
    return by_name[name].limits if name in by_name else UNLIMITED


def has_windows(plan: BudgetPlan) -> bool:
    """Whether anything is limited per day or month."""
    scoped = (*plan.agents.values(), *plan.models.values(), *plan.providers.values())
    return bool(plan.windows) or any(limited.per != "thread" for limited in scoped)


def scoped_accounts(
    plan: BudgetPlan, root_thread_id: str, spender: Spender, now_ns: int
) -> Iterator[tuple[str, Limits]]:
    """Yield the accounts beside its threads' own that a call holds on, with the limits they open with."""
    for kind, name, limited in (
        ("agent", spender.agent, plan.agents),
        ("model", spender.model, plan.models),
        ("provider", spender.provider, plan.providers),
    ):
        scoped = limited.get(name)
        if scoped is None or scoped.limits == UNLIMITED:
            continue
        over = thread_account(root_thread_id) if scoped.per == "thread" else period(scoped.per, now_ns, plan.time_zone)
        yield f"{kind}:{name}@{over}", scoped.limits
    for window, limits in plan.windows.items():
        if limits != UNLIMITED:
            yield f"organism@{period(window, now_ns, plan.time_zone)}", limits
