"""What a call counts on, and what happens there, by a model: arithmetic on lists where the product keeps accounts."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from organism.amounts import NS_PER_S, Limits
from organism.budget.guards.actions import Action
from organism.budget.scopes import BudgetPlan, LabelLimits, PoolLimits, ScopedLimits, ScopeRule
from organism.testing import ManualClock

HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS
ROLLING_NS = 6 * HOUR_NS
SLACK_NS = ROLLING_NS // 60
BELIEVED_NS = 300 * NS_PER_S
"""So far a clock may be set back and is waited for; one that is further back is not."""


def rule(*actions: tuple[int, Action]) -> ScopeRule:
    return ScopeRule(thresholds=tuple(percent for percent, _ in actions), actions=actions)


PLAN = BudgetPlan(
    thread=Limits(),
    final_reserve_percent=0,
    warn_ahead=0,
    windows={
        "call": Limits(tokens=60),
        "hour": Limits(tokens=200),
        "week": Limits(tokens=40),
        "6h": Limits(tokens=220),
        "lifetime": Limits(tokens=2000),
    },
    rules={
        "week": ScopeRule(mode="audit"),
        "hour": rule((30, "approve"), (80, "approve")),
        "6h": rule((50, "warn"), (70, "refuse")),
        "lifetime": rule((95, "park")),
    },
    labels={
        "tenant": LabelLimits(
            each=ScopedLimits(Limits(tokens=100), "day", rule((50, "degrade"), (70, "approve"))),
            values={"c": ScopedLimits(Limits(tokens=100), "month", rule((50, "park")))},
            pools={
                "small": PoolLimits(
                    frozenset({"a", "b"}), ScopedLimits(Limits(tokens=130), "6h", rule((60, "approve")))
                )
            },
        ),
        "team": LabelLimits(each=ScopedLimits(Limits(tokens=500), "lifetime")),
    },
)
THREADS: dict[str, dict[str, str]] = {
    "a": {"tenant": "a"},
    "b": {"tenant": "b", "team": "blue"},
    "c": {"tenant": "c", "team": "blue"},
    "d": {"tenant": "d"},
    "none": {},
}
FREEZES: tuple[dict[str, str], ...] = ({}, {"tenant": "a"}, {"team": "blue"}, {"tenant": "b", "team": "blue"})


class Scope(NamedTuple):
    """What a call counts on, by the model.

    Attributes:
        name: Changes with its period.
        limit: What may be spent.
        counts_ns: For how long spend counts; ``None`` for good.
        enforced: Whether it refuses.
        approve: Per cents at which a person must let it go on.
        end: Per cent of the limit that may be spent.
        action: What its refusal means.
        degrade: Per cent from which another model is used; 0 for never.
    """

    name: str
    limit: int
    counts_ns: int | None = None
    enforced: bool = True
    approve: tuple[int, ...] = ()
    end: int = 100
    action: Literal["", "park", "refuse"] = ""
    degrade: int = 0


class Spend(NamedTuple):
    """What was charged, or is held."""

    scopes: frozenset[str]
    tokens: int
    at_ns: int


def period(per: str, now_ns: int) -> str:
    """Name a period of the calendar in UTC by arithmetic, where the product reads a calendar."""
    day = now_ns // DAY_NS
    local = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    months = local.year * 12 + local.month
    return f"{per}:{({'hour': now_ns // HOUR_NS, 'day': day, 'week': (day + 3) // 7, 'month': months})[per]}"


def end_ns(per: str, now_ns: int) -> int:
    """Return the first instant of the next period."""
    step = HOUR_NS if per == "hour" else DAY_NS
    end, present = now_ns // step * step, period(per, now_ns)
    while period(per, end) == present:
        end += step
    return end


def scopes(labels: Mapping[str, str], now_ns: int) -> Iterator[Scope]:
    """Yield what a call of a thread with these labels counts on."""
    yield Scope("call", 60, counts_ns=0)
    yield Scope(period("hour", now_ns), 200, approve=(30, 80))
    yield Scope(period("week", now_ns), 40, enforced=False)
    yield Scope("6h", 220, ROLLING_NS, end=70, action="refuse")
    yield Scope("lifetime", 2000, end=95, action="park")
    tenant = labels.get("tenant")
    if tenant == "c":
        yield Scope(f"tenant=c {period('month', now_ns)}", 100, end=50, action="park")
    elif tenant:
        yield Scope(f"tenant={tenant} {period('day', now_ns)}", 100, approve=(70,), degrade=50)
    if tenant in ("a", "b"):
        yield Scope("pool small", 130, ROLLING_NS, approve=(60,))
    if "team" in labels:
        yield Scope("team=blue", 500)


def same(scope: str, account: str, now_ns: int) -> bool:
    """Whether an account of the product is the model's scope, of the periods that count now."""
    written = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    return account == {
        "call": "organism@call",
        period("hour", now_ns): f"organism@hour:{written:%Y-%m-%dT%H}",
        period("week", now_ns): f"organism@week:{written:%G-W%V}",
        "6h": "organism@rolling:6h",
        "lifetime": "organism@lifetime",
        "pool small": "pool:tenant=small@rolling:6h",
        "team=blue": "label:team=blue@lifetime",
        f"tenant=c {period('month', now_ns)}": f"label:tenant=c@month:{written:%Y-%m}",
    }.get(scope, f"label:{scope.partition(' ')[0]}@day:{written:%Y-%m-%d}")


class WallClock(ManualClock):
    """The clocks of a machine: the one on its wall can be set back, the other goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.back_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() - self.back_ns

    def pass_ns(self, passed_ns: int) -> None:
        """Let time pass, to the nanosecond."""
        self._passed_ns += passed_ns


def instant_ns(before_ns: int, passed_ns: int, wall_ns: int) -> int:
    """Return what time it is, so long after another instant, by the model: never earlier, whatever the wall says."""
    evenly_ns = before_ns + passed_ns
    return evenly_ns if evenly_ns - wall_ns > BELIEVED_NS else max(before_ns, wall_ns)
