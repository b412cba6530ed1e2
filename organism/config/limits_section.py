"""What is written under ``limits:`` beside numbers: what they are counted over, and what happens as they come near."""

from collections.abc import Iterator

from organism.budget.guards.actions import problem_at
from organism.config.price_section import Fail
from organism.config.schema.limits import ActionName, AllLimitsSection, RuleSection, Thresholds
from organism.config.yaml.bind import did_you_mean
from organism.config.yaml.nodes import Path_
from organism.ledger.windows import rolling_ns

_PER = ("thread", "call", "hour", "day", "week", "month", "lifetime")
_ROLLING_MAX_NS = 366 * 86_400 * 10**9


def check_scopes(limits: AllLimitsSection, fail: Fail, *, degradable: bool = True) -> None:
    """Refuse limits that are counted over nothing known, rules that make no sense, and pools of nothing.

    Raises:
        ConfigError: At the first of them.
    """
    for path, section in _sections(limits):
        per = getattr(section, "per", None)
        if isinstance(per, str):
            _check_per(per, fail, *path, "per")
        if section.thresholds is not None:
            check_thresholds(section.thresholds, fail, *path, "thresholds", degradable=degradable)
        if (per == "call" or path == ("limits", "call")) and section.calls is not None:
            fail("each call is one call; limit its tokens or usd", *path, "calls")
    _check_rolling(limits, fail)


def check_thresholds(thresholds: Thresholds, fail: Fail, *path: str | int, degradable: bool = True) -> None:
    """Refuse thresholds that are out of order or beyond the limit, and actions that cannot be where they stand.

    Raises:
        ConfigError: If they are.
    """
    if isinstance(thresholds, dict):
        _check_actions(thresholds, fail, path, degradable=degradable)
        return
    if sorted(set(thresholds)) != thresholds or not all(0 < each <= 100 for each in thresholds):  # noqa: PLR2004
        fail("thresholds are per cents from 1 to 100, ascending, each once", *path)
    if not thresholds:
        fail("at least one threshold is needed; to warn of nothing, use [100]", *path)


def _check_actions(written: dict[str, ActionName], fail: Fail, path: Path_, *, degradable: bool) -> None:
    for threshold, action in written.items():
        if (problem := problem_at(threshold, action)) is not None:
            fail(problem, *path, threshold)
        if action == "degrade" and not degradable:
            fail("no model says what takes its place; give one 'degrade: {to: MODEL}' in llm.models", *path, threshold)
    if not written:
        fail("at least one threshold is needed; to warn of nothing, use [100]", *path)
    ends = sorted(int(threshold) for threshold, action in written.items() if action in ("park", "refuse"))
    if ends and max(map(int, written)) > ends[0]:
        fail(f"nothing happens beyond {ends[0]}, where it ends", *path, str(max(map(int, written))))


def _check_per(per: str, fail: Fail, *path: str | int) -> None:
    if per in _PER:
        return
    length_ns = rolling_ns(per)
    if not length_ns:
        there = f"; there are: {', '.join(_PER)}, or a rolling window such as 30m, 6h or 7d"
        fail(f"limits cannot be counted per {per!r}{did_you_mean(per, _PER) or there}", *path)
    if length_ns > _ROLLING_MAX_NS:
        fail(f"a rolling window of {per} is longer than 366 days", *path)


def _check_rolling(limits: AllLimitsSection, fail: Fail) -> None:
    rolling = limits.rolling if isinstance(limits.rolling, list) else [limits.rolling]
    hours = [section.hours for section in rolling]
    for place, each in enumerate(hours):
        if each in hours[:place]:
            fail(f"a window of {each} hours stands here twice; keep one", "limits", "rolling", place, "hours")


def _sections(limits: AllLimitsSection) -> Iterator[tuple[Path_, RuleSection]]:
    """Yield every part of the limits with where it stands."""
    for name in ("thread", "call", "hour", "day", "week", "month", "lifetime"):
        yield ("limits", name), getattr(limits, name)
    if isinstance(limits.rolling, list):
        yield from ((("limits", "rolling", place), section) for place, section in enumerate(limits.rolling))
    else:
        yield ("limits", "rolling"), limits.rolling
    for kind in ("agents", "models", "providers", "labels"):
        yield from ((("limits", kind, name), section) for name, section in getattr(limits, kind).items())
    for name, label in limits.labels.items():
        yield from ((("limits", "labels", name, "values", value), each) for value, each in label.values.items())
        yield from ((("limits", "labels", name, "pools", pool), each) for pool, each in label.pools.items())
