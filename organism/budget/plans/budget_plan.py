"""What is limited: the limits of threads, windows, agents, models, providers and labels, as written.

Pure. What would not be kept as it stands, because of a misprint, is refused where it is written: a limit that is only
watched, or counted over nothing, looks just like one that holds.
"""

import warnings
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import get_args

import msgspec
from msgspec.structs import force_setattr, replace

from organism.amounts import Limits
from organism.budget.guards.actions import WHOLE, Actions, check_actions, problem_with_thresholds
from organism.budget.holds import Mode
from organism.budget.thresholds import DEFAULT_WARN_AHEAD
from organism.errors import ConfigError
from organism.ledger.windows import Per, Window, problem_with_period
from organism.text.error_text import shown

DEFAULT_TOKENS_PER_THREAD = 100_000
"""What a thread may use when nothing else is said: enough for a real task, small enough to notice a loop."""


class ScopeRule(msgspec.Struct, frozen=True, kw_only=True):
    """What happens on one scope as its limit comes near, where that differs from the organism's.

    Attributes:
        mode: What is done where its limit is reached; as the organism does unless given.
        thresholds: Per cent of its limits at which to warn, ascending; the organism's unless given.
        actions: What happens at some of them beside a warning; the organism's where there are no thresholds either.
    """

    mode: Mode | None = None
    thresholds: tuple[int, ...] | None = None
    actions: Actions = ()

    def __post_init__(self) -> None:
        """Refuse what a misprint would make of it: a limit that is not kept.

        Raises:
            ConfigError: If there is no such mode, threshold or action.
        """
        if self.mode is not None:
            check_mode(self.mode)
        problem = problem_with_thresholds(self.thresholds) if self.thresholds is not None else None
        if problem is not None:
            raise ConfigError(problem, path="thresholds")
        check_actions(dict(self.actions))


AS_THE_ORGANISM = ScopeRule()


class ScopedLimits(msgspec.Struct, frozen=True):
    """Limits of one agent, model, provider, label or pool, what they are counted over, and what happens there."""

    limits: Limits
    per: Per = "thread"
    rule: ScopeRule = AS_THE_ORGANISM

    def __post_init__(self) -> None:
        """Refuse limits that would not be kept.

        Raises:
            ConfigError: If they are none, or counted over nothing that there is.
        """
        _check_window(self.per, self.limits)
        check_type(self.rule, ScopeRule, "rule")


class PoolLimits(msgspec.Struct, frozen=True):
    """Limits that several values of a label share."""

    values: frozenset[str]
    scoped: ScopedLimits

    def __post_init__(self) -> None:
        """Take values in any collection.

        Raises:
            ConfigError: If there are none, or they are no text.
        """
        values: object = self.values
        if not isinstance(values, Collection) or isinstance(values, str | bytes) or not values:
            raise ConfigError(f"a pool is of some values of a label, such as {{'a', 'b'}}, not {shown(values)}")
        for value in values:
            check_type(value, str, "a value of a pool")
        check_type(self.scoped, ScopedLimits, "what a pool has")
        force_setattr(self, "values", frozenset(values))


class LabelLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the threads with a label, for each of its values apart.

    Attributes:
        each: Of each value.
        values: Of single values, instead.
        pools: By name, what several values share; a call holds on its value's account and on these.
        required: Whether a thread without the label is refused; without limits of this label it is let through.
    """

    each: ScopedLimits
    values: Mapping[str, ScopedLimits] = {}
    pools: Mapping[str, PoolLimits] = {}
    required: bool = False

    def __post_init__(self) -> None:
        """Refuse limits that are none.

        Raises:
            ConfigError: If so.
        """
        for value, scoped in (("each", self.each), *self.values.items()):
            check_type(scoped, ScopedLimits, f"the limits of {value!r}")
        for pool, shared in self.pools.items():
            check_type(shared, PoolLimits, f"the pool {pool!r}")


class BudgetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All limits of one organism.

    Attributes:
        thread: What each root thread may use.
        windows: What all threads together may use per hour, day, week or month, in any ``6h``, in all (``lifetime``),
            and what each ``call`` may take.
        agents: Limits by agent name.
        models: Limits by model name.
        providers: Limits by provider name. A call that one of them refuses goes to the model's next provider.
        labels: Limits by a thread's labels.
        rules: What happens on the scopes ``thread`` and on those of ``windows``, where it differs.
        actions: What happens at thresholds beside a warning, on scopes without thresholds of their own.
        time_zone: Where days, weeks and months begin.
        final_reserve_percent: Per cent of a thread's tokens and USD reserved for a call after the final warning.
        warn_ahead: An agent is warned when fewer calls than this fit that are as large as the present one; 0: only at
            thresholds.
        wrap_up_percent: The name it had first.
    """

    thread: Limits = Limits(tokens=DEFAULT_TOKENS_PER_THREAD)
    windows: Mapping[Window, Limits] = {}
    agents: Mapping[str, ScopedLimits] = {}
    models: Mapping[str, ScopedLimits] = {}
    providers: Mapping[str, ScopedLimits] = {}
    labels: Mapping[str, LabelLimits] = {}
    rules: Mapping[Per, ScopeRule] = {}
    actions: Actions = ()
    time_zone: tzinfo = UTC
    final_reserve_percent: int = 5
    warn_ahead: int = DEFAULT_WARN_AHEAD
    wrap_up_percent: int | None = None

    def __post_init__(self) -> None:
        """Take the reserve from the name it had first, and refuse limits that would not be kept.

        Raises:
            ConfigError: If ``warn_ahead`` is no number of calls, or a window or its rule is none.
        """
        for per, limits in self.windows.items():
            if per == "thread":
                raise ConfigError("limits of each thread stand in 'thread', not in 'windows'", path="windows")
            _check_window(per, limits)
        for per in self.rules:
            if (problem := problem_with_period(per)) is not None:
                raise ConfigError(problem, path="rules")
        if isinstance(self.warn_ahead, bool) or not isinstance(self.warn_ahead, int) or self.warn_ahead < 0:
            raise ConfigError(
                f"warn_ahead is a number of calls from 0, not {shown(self.warn_ahead)}", path="warn_ahead"
            )
        if self.wrap_up_percent is not None:
            warnings.warn("wrap_up_percent is now final_reserve_percent", DeprecationWarning, stacklevel=2)
            force_setattr(self, "final_reserve_percent", self.wrap_up_percent)
            force_setattr(self, "wrap_up_percent", None)
        if type(self.final_reserve_percent) is not int or not 0 <= self.final_reserve_percent <= WHOLE:
            raise ConfigError(
                f"a reserve is a per cent from 0 to 100, not {shown(self.final_reserve_percent)}",
                path="final_reserve_percent",
            )

    @property
    def scoped(self) -> bool:
        """Whether anything but threads is limited."""
        return bool(self.agents or self.models or self.providers or self.labels or self.windows)

    @property
    def all_scoped(self) -> tuple[ScopedLimits, ...]:
        """All limits but those of threads and of the organism."""
        return tuple(scoped for _, _, scoped in named_scopes(self))

    @property
    def has_actions(self) -> bool:
        """Whether anything else happens at a threshold anywhere than a warning."""
        rules = (*self.rules.values(), *(scoped.rule for scoped in self.all_scoped))
        return bool(self.actions) or any(rule.actions for rule in rules)

    @property
    def has_rules(self) -> bool:
        """Whether anything else than the organism's mode and thresholds holds anywhere."""
        return bool(self.rules) or any(scoped.rule != AS_THE_ORGANISM for scoped in self.all_scoped)


def check_mode(mode: object) -> None:
    """Refuse a mode that is none: a limit would be watched that was to be kept.

    Raises:
        ConfigError: If so.
    """
    if mode not in get_args(Mode):
        raise ConfigError(f"there is no mode {shown(mode)}; there are: {', '.join(get_args(Mode))}", path="mode")


def check_type(value: object, wanted: type, what: str) -> None:
    """Refuse what is of another type, as a program without a type checker may write.

    Raises:
        ConfigError: If so.
    """
    if not isinstance(value, wanted):
        raise ConfigError(f"{what} must be {wanted.__name__}, not {shown(value)}")


def _check_window(per: object, limits: object) -> None:
    check_type(limits, Limits, "limits")
    if (problem := problem_with_period(per)) is not None:
        raise ConfigError(problem, path="per")
    if isinstance(limits, Limits) and limits.elapsed_ns is not None:
        raise ConfigError("seconds are counted for threads alone; limit tokens, usd or calls here")


def plan_of(limits: Limits | BudgetPlan | None, warn_ahead: int | None = None, actions: Actions = ()) -> BudgetPlan:
    """Return a whole plan, made of the limits of each thread where these are all there is.

    Args:
        limits: The limits of each thread, or a plan; the defaults unless given.
        warn_ahead: Of how many calls to warn ahead, instead of what the plan says.
        actions: What happens at thresholds, instead of what the plan says.

    Raises:
        ConfigError: If that is no number of calls.
    """
    plan = limits if isinstance(limits, BudgetPlan) else BudgetPlan(thread=limits) if limits else BudgetPlan()
    plan = replace(plan, actions=actions) if actions else plan
    return plan if warn_ahead is None else replace(plan, warn_ahead=warn_ahead)


def named_scopes(plan: BudgetPlan) -> Iterator[tuple[str, str, ScopedLimits]]:
    """Yield the limits of agents, models, providers and labels by their place in the file, and where within a label."""
    for kind, by_name in (("agents", plan.agents), ("models", plan.models), ("providers", plan.providers)):
        yield from ((f"limits.{kind}.{name}", "", each) for name, each in by_name.items())
    for name, label in plan.labels.items():
        place = f"limits.labels.{name}"
        yield place, "", label.each
        yield from ((place, f".{value}", each) for value, each in label.values.items())
        yield from ((place, f".pools.{pool}", each.scoped) for pool, each in label.pools.items())
