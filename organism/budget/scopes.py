"""Which accounts does a call hold on? Pure: limits in the configuration become named accounts.

A call of a thread holds on the thread and all its ancestors, on what is limited for its agent, its model, the provider
it goes to and the thread's labels, and on the organism's windows. How these are named is the matter of
:mod:`organism.amounts.account`, what they are counted over that of :mod:`organism.ledger.windows`.
"""

from collections.abc import Iterator, Mapping

from organism.amounts import UNLIMITED, Limits
from organism.amounts.account import Account, thread_account, thread_of
from organism.budget.guards.actions import Action, Actions
from organism.budget.holds import Spender
from organism.budget.plans.budget_plan import (
    AS_THE_ORGANISM,
    DEFAULT_TOKENS_PER_THREAD,
    BudgetPlan,
    LabelLimits,
    PoolLimits,
    ScopedLimits,
    ScopeRule,
    named_scopes,
    plan_of,
)
from organism.errors import ConfigError
from organism.ledger.windows import Per, Window, is_over, period, window_end_ns

__all__ = [
    "AS_THE_ORGANISM",
    "DEFAULT_TOKENS_PER_THREAD",
    "BudgetPlan",
    "LabelLimits",
    "Per",
    "PoolLimits",
    "ScopeRule",
    "ScopedLimits",
    "Window",
    "actions_of",
    "check_labels",
    "has_final_reserve",
    "has_windows",
    "is_over",
    "limits_over_time",
    "of_provider",
    "period",
    "plan_of",
    "planned_limits",
    "rule_of",
    "scoped_accounts",
    "window_accounts",
    "window_end_ns",
]


def has_final_reserve(account: str) -> bool:
    """Whether a per cent of an account is kept for a final call: threads keep one, other scopes do not."""
    return thread_of(account) is not None


def of_provider(account: str) -> bool:
    """Whether an account limits a provider, so that going to another one helps."""
    return Account.parse(account).kind == "provider"


def planned_limits(plan: BudgetPlan, account: str) -> Limits:
    """Return what a plan says of an account that is no thread's; no limit where it says nothing."""
    parsed = Account.parse(account)
    if parsed.kind == "organism":
        return plan.windows.get(parsed.per, UNLIMITED)
    scoped = _scoped_limits(plan, parsed)
    return scoped.limits if scoped is not None else UNLIMITED


def present_account(plan: BudgetPlan, account: str, now_ns: int) -> tuple[str, Limits] | None:
    """Return the account of the same scope on which calls hold now, with the limits that it opens with.

    Args:
        plan: All limits.
        account: Any name of it: of another day, or of none.
        now_ns: When.

    Returns:
        ``None`` if it is a thread's own or the plan limits no such scope.
    """
    parsed = Account.parse(account)
    if parsed.kind == "organism":
        per, limits = parsed.per, plan.windows.get(parsed.per, UNLIMITED)
    elif (scoped := _scoped_limits(plan, parsed)) is not None:
        per, limits = scoped.per, scoped.limits
    else:
        return None
    if limits == UNLIMITED or (per == "thread" and not parsed.within_thread):
        return None
    over, name = parsed.over if per == "thread" else period(per, now_ns, plan.time_zone), parsed.name
    if parsed.kind in ("label", "pool"):  # as names have it, however this one was written
        name = Account.of_label(*parsed.label, over).name
    return str(Account(parsed.kind, name, over)), limits


def rule_of(plan: BudgetPlan, account: str) -> ScopeRule:
    """Return what happens on an account as its limit comes near, where that differs from the organism's."""
    parsed = Account.parse(account)
    if parsed.kind in ("thread", "organism"):
        return plan.rules.get(parsed.per, AS_THE_ORGANISM)
    scoped = _scoped_limits(plan, parsed)
    return scoped.rule if scoped is not None else AS_THE_ORGANISM


def actions_of(plan: BudgetPlan, account: str) -> Actions:
    """Return what happens on an account at thresholds: its scope's own, or the organism's."""
    return _actions_by(rule_of(plan, account), plan)


def _actions_by(rule: ScopeRule, plan: BudgetPlan) -> Actions:
    return rule.actions if rule.actions or rule.thresholds is not None else plan.actions


def _scoped_limits(plan: BudgetPlan, account: Account) -> ScopedLimits | None:
    """Return what a plan says of an agent, a model, a provider, a label's value or a pool."""
    if account.kind in ("label", "pool"):
        name, which = account.label
        if (label := plan.labels.get(name)) is None:
            return None
        if account.kind == "label":
            return label.values.get(which, label.each)
        return pool.scoped if (pool := label.pools.get(which)) is not None else None
    by_name = {"agent": plan.agents, "model": plan.models, "provider": plan.providers}.get(account.kind, {})
    return by_name.get(account.name)


def has_windows(plan: BudgetPlan) -> bool:
    """Whether anything is limited over a time, so that room comes back by itself."""
    return bool(plan.windows) or any(scoped.per != "thread" for scoped in plan.all_scoped)


def check_labels(plan: BudgetPlan, labels: Mapping[str, str]) -> None:
    """Refuse a thread that lacks a label which it must have, so that its spend would count on no account of it.

    Raises:
        ConfigError: If it lacks one.
    """
    for name, label in plan.labels.items():
        if label.required and not labels.get(name):
            raise ConfigError(
                f"a thread needs the label {name!r} here; open it with labels such as {name}=NAME", path="labels"
            )


def thresholds_by_scope(plan: BudgetPlan, thresholds: tuple[int, ...]) -> dict[str, dict[int, Action]]:
    """Return what happens at which per cent: of all ``limits``, and of scopes such as ``limits.day`` that differ."""
    rules = {f"limits.{name}": rule for name, rule in plan.rules.items()}
    rules |= {name + within: each.rule for name, within, each in named_scopes(plan)}
    found = {"limits": dict(plan.actions) or dict.fromkeys(thresholds, "warn")}
    for name, rule in rules.items():
        if rule.thresholds is not None:
            found[name] = dict(rule.actions) or dict.fromkeys(rule.thresholds, "warn")
    return found


def limits_over_time(plan: BudgetPlan) -> tuple[str, ...]:
    """Return what is counted over a time that outlasts a process: ``limits.day``, ``limits.agents.a per day``.

    Without a durable journal all that counts from zero after a restart.
    """
    per = (f"{name} per {each.per}" for name, _, each in named_scopes(plan) if each.per not in ("thread", "call"))
    return tuple(dict.fromkeys((*(f"limits.{window}" for window in plan.windows if window != "call"), *per)))


def scoped_accounts(
    plan: BudgetPlan, root_thread_id: str, spender: Spender, now_ns: int, labels: Mapping[str, str]
) -> Iterator[tuple[str, Limits]]:
    """Yield the accounts beside its threads' own that a call holds on, with the limits they open with.

    Args:
        plan: All limits.
        root_thread_id: The thread at the top of the spender's tree.
        spender: On whose behalf the call is made.
        now_ns: When.
        labels: Those of the root thread.
    """

    def over(scoped: ScopedLimits) -> str:
        per = scoped.per
        return thread_account(root_thread_id) if per == "thread" else period(per, now_ns, plan.time_zone)

    for kind, name, limited in (
        ("agent", spender.agent, plan.agents),
        ("model", spender.model, plan.models),
        ("provider", spender.provider, plan.providers),
    ):
        scoped = limited.get(name)
        if scoped is not None and scoped.limits != UNLIMITED:
            yield str(Account(kind, name, over(scoped))), scoped.limits
    for name, label in plan.labels.items():
        if (value := labels.get(name)) is None:
            continue
        own = label.values.get(value, label.each)
        if own.limits != UNLIMITED:
            yield str(Account.of_label(name, value, over(own))), own.limits
        for pool_name, pool in label.pools.items():
            if value in pool.values and pool.scoped.limits != UNLIMITED:
                yield str(Account.of_pool(name, pool_name, over(pool.scoped))), pool.scoped.limits
    yield from window_accounts(plan, now_ns)


def window_accounts(plan: BudgetPlan, now_ns: int) -> Iterator[tuple[str, Limits]]:
    """Yield the present accounts of the whole organism, with their configured limits."""
    for window, limits in plan.windows.items():
        if limits != UNLIMITED:
            yield str(Account.of_organism(period(window, now_ns, plan.time_zone))), limits
