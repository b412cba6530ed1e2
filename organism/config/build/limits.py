"""From the part of organism.yaml about ceilings to the plan that the budget works with."""

from collections.abc import Iterator

import structlog
from msgspec.structs import replace

from organism.amounts import NS_PER_S, UNLIMITED, Limits, nanousd
from organism.amounts.units import ADDITIVE, UNITS
from organism.budget.guards.actions import actions_in, thresholds_in
from organism.budget.scopes import (
    AS_THE_ORGANISM,
    DEFAULT_TOKENS_PER_THREAD,
    BudgetPlan,
    LabelLimits,
    PoolLimits,
    ScopedLimits,
    ScopeRule,
)
from organism.config.load import time_zone
from organism.config.schema.limits import (
    AllLimitsSection,
    EachThreadLimitsSection,
    LabelLimitsSection,
    LimitsSection,
    RuleSection,
    ScopedLimitsSection,
    ThreadLimitsSection,
    ValueLimitsSection,
)
from organism.config.schema.root import Config
from organism.ledger.windows import Per

_log = structlog.get_logger("organism.config")


def budget_plan(config: Config) -> BudgetPlan:
    """Return all limits in integer units."""
    limits = config.limits
    short = config.max_tokens_per_thread if config.max_tokens_per_thread is not None else limits.max_tokens_per_thread
    written = limits.thread.tokens if short is None else short
    tokens = DEFAULT_TOKENS_PER_THREAD if written is None else written
    windows = dict(_windows(limits))
    rules = {"thread": _rule(limits.thread), **{per: _rule(section) for per, section in windows.items()}}
    return BudgetPlan(
        thread=replace(thread_limits(limits.thread), tokens=None if tokens == "unlimited" else tokens),
        windows={per: _limits(section) for per, section in windows.items()},
        agents={name: _scoped(section) for name, section in limits.agents.items()},
        models={name: _scoped(section) for name, section in limits.models.items()},
        providers={name: _scoped(section) for name, section in limits.providers.items()},
        labels={name: _label(section) for name, section in limits.labels.items()},
        rules={per: rule for per, rule in rules.items() if rule != AS_THE_ORGANISM},
        actions=actions_in(config.thresholds),
        time_zone=time_zone(config),
        final_reserve_percent=_final_reserve(limits),
        warn_ahead=config.warn_ahead,
    )


def _windows(limits: AllLimitsSection) -> Iterator[tuple[Per, RuleSection]]:
    """Yield what limits all threads together, those that end sooner first."""
    rolling = limits.rolling if isinstance(limits.rolling, list) else [limits.rolling]
    written: tuple[tuple[Per, RuleSection], ...] = (
        ("call", limits.call),
        ("hour", limits.hour),
        *((f"{section.hours}h", section) for section in rolling),
        ("day", limits.day),
        ("week", limits.week),
        ("month", limits.month),
        ("lifetime", limits.lifetime),
    )
    return ((per, section) for per, section in written if _limits(section) != UNLIMITED)


def _final_reserve(limits: AllLimitsSection) -> int:
    if limits.wrap_up is None:
        return limits.final_reserve
    _log.warning("renamed_key", key="limits.wrap_up", use="limits.final_reserve")
    return limits.wrap_up


def thread_limits(section: ThreadLimitsSection | EachThreadLimitsSection) -> Limits:
    """Return the limits of a thread in integer units."""
    elapsed = None if section.seconds is None else int(section.seconds * NS_PER_S)
    return replace(_limits(section), elapsed_ns=elapsed)


def _limits(section: LimitsSection) -> Limits:
    tokens = None if section.tokens == "unlimited" else section.tokens
    cost_nanousd = None if section.usd is None else nanousd(section.usd)
    return Limits(tokens=tokens, cost_nanousd=cost_nanousd, calls=section.calls)


def _rule(section: RuleSection) -> ScopeRule:
    if section.thresholds is None:
        return ScopeRule(mode=section.mode)
    return ScopeRule(
        mode=section.mode, thresholds=thresholds_in(section.thresholds), actions=actions_in(section.thresholds)
    )


def _scoped(section: ScopedLimitsSection) -> ScopedLimits:
    return ScopedLimits(_limits(section), section.per, _rule(section))


def _label(section: LabelLimitsSection) -> LabelLimits:
    each = ScopedLimits(_limits(section), section.per, _rule(section))
    return LabelLimits(
        each=each,
        values={name: _value(value, each) for name, value in section.values.items()},
        pools={
            name: PoolLimits(frozenset(pool.values), _value(pool, ScopedLimits(UNLIMITED, each.per, each.rule)))
            for name, pool in section.pools.items()
        },
        required=section.required,
    )


def _value(section: ValueLimitsSection, each: ScopedLimits) -> ScopedLimits:
    """Return the limits of one value: what it does not name is as for every value."""
    named, rule = _limits(section), _rule(section)
    return ScopedLimits(
        Limits(
            **{
                unit.limit: getattr(each.limits if getattr(section, name) is None else named, unit.limit)
                for name, unit in UNITS.items()
                if name in ADDITIVE
            }
        ),
        section.per or each.per,
        ScopeRule(
            mode=rule.mode or each.rule.mode,
            thresholds=rule.thresholds or each.rule.thresholds,
            actions=rule.actions if rule.thresholds is not None else each.rule.actions,
        ),
    )
