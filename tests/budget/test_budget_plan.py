"""A plan that a program writes is checked as a file's is: no misprint makes a limit that is not kept."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from organism import BudgetPlan, Context, Limits, Organism, ScopedLimits, Text, ThreadBudgetRegistry
from organism import agent as make_agent
from organism.budgets import Breakers, LabelLimits, PoolLimits, RateBreaker, ScopeRule
from organism.errors import ConfigError
from organism.testing import ScriptedProvider

TOKENS = Limits(tokens=1000)
EACH = ScopedLimits(TOKENS)


def made(limits: Any = None, **options: Any) -> Organism:
    async def worker(message: Text, ctx: Context) -> None:
        await ctx.llm.complete(message.text)

    providers = {"s": ScriptedProvider([])}
    return Organism(
        [make_agent(name="worker")(worker)], models={"m": "s/x"}, providers=providers, limits=limits, **options
    )


def of_labels(**parts: Any) -> BudgetPlan:
    return BudgetPlan(labels={"tenant": LabelLimits(**parts)})


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a mode": (lambda: ScopeRule(mode=cast("Any", "enforced")), "no mode 'enforced'; there are: off"),
    "the organism's mode": (lambda: made(mode="enforced"), "no mode 'enforced'"),
    "the registry's mode": (lambda: ThreadBudgetRegistry(TOKENS, mode=cast("Any", "foo")), "no mode 'foo'"),
    "no thresholds": (lambda: ScopeRule(thresholds=()), "at least one threshold"),
    "thresholds that descend": (lambda: ScopeRule(thresholds=(90, 50)), "ascending"),
    "a threshold twice": (lambda: ScopeRule(thresholds=(50, 50)), "each once"),
    "a threshold beyond": (lambda: ScopeRule(thresholds=(50, 150)), "from 1 to 100"),
    "a threshold of nothing": (lambda: ScopeRule(thresholds=(0,)), "from 1 to 100"),
    "a threshold with a fraction": (lambda: ScopeRule(thresholds=cast("Any", (0.9,))), "from 1 to 100"),
    "a threshold that is true": (lambda: ScopeRule(thresholds=(True,)), "from 1 to 100"),
    "text for thresholds": (lambda: ScopeRule(thresholds=cast("Any", "90")), "from 1 to 100"),
    "the organism's thresholds": (lambda: made(thresholds=(90, 50)), "ascending"),
    "an action": (lambda: ScopeRule(actions=cast("Any", ((50, "stop"),))), "no 'stop'; there are: warn"),
    "an action at the end": (lambda: ScopeRule(actions=((100, "approve"),)), "at 100 the limit itself ends"),
    "an action beyond the end": (lambda: ScopeRule(actions=((50, "park"), (80, "warn"))), "beyond 50"),
    "the organism's actions": (lambda: made(thresholds={50: "refuse", 80: "warn"}), "beyond 50"),
    "a period": (lambda: ScopedLimits(TOKENS, "dya"), "per 'dya'; there are: thread"),
    "a window": (lambda: BudgetPlan(windows={"dya": TOKENS}), "per 'dya'"),
    "a window of no length": (lambda: BudgetPlan(windows={"0h": TOKENS}), "per '0h'"),
    "a window that is too long": (lambda: BudgetPlan(windows={"400d": TOKENS}), "longer than 366 days"),
    "threads as a window": (lambda: BudgetPlan(windows={"thread": TOKENS}), "stand in 'thread'"),
    "a rule of no window": (lambda: BudgetPlan(rules={"dya": ScopeRule(mode="audit")}), "per 'dya'"),
    "seconds of a day": (lambda: BudgetPlan(windows={"day": Limits(seconds=5)}), "for threads alone"),
    "seconds of an agent": (lambda: ScopedLimits(Limits(seconds=5)), "for threads alone"),
    "a number for limits": (lambda: BudgetPlan(windows={"day": cast("Any", 5)}), "must be Limits, not 5"),
    "limits for those of a label": (lambda: of_labels(each=TOKENS), "'each' must be ScopedLimits"),
    "limits for those of a value": (lambda: of_labels(each=EACH, values={"a": TOKENS}), "'a' must be ScopedLimits"),
    "limits for those of a pool": (lambda: of_labels(each=EACH, pools={"p": EACH}), "'p' must be PoolLimits"),
    "a pool of text": (lambda: PoolLimits(cast("Any", "acme"), EACH), "some values of a label"),
    "a pool of nothing": (lambda: PoolLimits(frozenset(), EACH), "some values of a label"),
    "a pool of numbers": (lambda: PoolLimits(cast("Any", {5}), EACH), "must be str, not 5"),
    "a reserve of more than all": (lambda: BudgetPlan(final_reserve_percent=101), "from 0 to 100"),
    "a reserve below nothing": (lambda: BudgetPlan(final_reserve_percent=-1), "from 0 to 100"),
    "a model": (lambda: made(BudgetPlan(models={"n": EACH})), "no model: n; there are: m"),
    "a provider": (lambda: made(BudgetPlan(providers={"p": EACH})), "no provider: p"),
    "no model to degrade to": (
        lambda: made(BudgetPlan(rules={"thread": ScopeRule(actions=((50, "degrade"),))})),
        "no model says what takes its place",
    ),
    "a breaker's count": (lambda: Breakers(repeat=-1), "breakers.repeat: a whole number from 0"),
    "a breaker's rounds": (lambda: Breakers(alternate=cast("Any", "3")), "breakers.alternate"),
    "a breaker's rate": (lambda: Breakers(rate=cast("Any", 3)), r"RateBreaker\(times=10\)"),
    "a breaker's times": (lambda: Breakers(rate=RateBreaker(times=0)), "breakers.rate.times: a whole number from 1"),
    "a breaker's action": (lambda: Breakers(actions=cast("Any", ("halt",))), "no 'halt'; there are: note"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_would_limit_nothing_is_refused_where_it_is_written(what: str) -> None:
    """A misprint in a program is an error that says what there is, not a limit that nobody keeps."""
    make, message = WRONG[what]

    with pytest.raises(ConfigError, match=message):
        make()


def test_a_pool_takes_its_values_in_any_collection() -> None:
    """A list or a set of values is as good as a frozen set."""
    values: Any = ["a", "b", "a"]

    assert PoolLimits(values, EACH).values == frozenset({"a", "b"})
