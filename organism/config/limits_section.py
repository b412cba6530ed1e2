"""What is written under ``limits:`` beside numbers: what they are counted over, and what happens as they come near."""

from collections.abc import Iterator

from organism.budget.guards.actions import NO_THRESHOLD, problem_at, problem_beyond_end, problem_with_thresholds
from organism.config.checking import Report
from organism.config.schema.limits import ActionName, AllLimitsSection, RuleSection, Thresholds
from organism.config.yaml.mistakes import Path_, did_you_mean
from organism.ledger.windows import PERIODS, problem_with_period


def check_scopes(limits: AllLimitsSection, report: Report, *, degradable: bool = True) -> None:
    """Refuse limits that are counted over nothing known, rules that make no sense, and pools of nothing."""
    for path, section in _sections(limits):
        per = getattr(section, "per", None)
        if isinstance(per, str):
            _check_per(per, report, *path, "per")
        if section.thresholds is not None:
            check_thresholds(section.thresholds, report, *path, "thresholds", degradable=degradable)
        if (per == "call" or path == ("limits", "call")) and section.calls is not None:
            report("each call is one call; limit its tokens or usd", *path, "calls")
    _check_rolling(limits, report)


def check_thresholds(thresholds: Thresholds, report: Report, *path: str | int, degradable: bool = True) -> None:
    """Refuse thresholds that are out of order or beyond the limit, and actions that cannot be where they stand."""
    if isinstance(thresholds, dict):
        _check_actions(thresholds, report, path, degradable=degradable)
        return
    if (problem := problem_with_thresholds(thresholds)) is not None:
        report(problem, *path)


def _check_actions(written: dict[str, ActionName], report: Report, path: Path_, *, degradable: bool) -> None:
    senseless = False
    for threshold, action in written.items():
        if (problem := problem_at(threshold, action)) is not None:
            report(problem, *path, threshold)
            senseless = True
        if action == "degrade" and not degradable:
            report(
                "no model says what takes its place; give one 'degrade: {to: MODEL}' in llm.models", *path, threshold
            )
    if not written:
        report(NO_THRESHOLD, *path)
    if not senseless and (problem := problem_beyond_end(written)) is not None:
        report(problem, *path, str(max(map(int, written))))


def _check_per(per: str, report: Report, *path: str | int) -> None:
    if (problem := problem_with_period(per, did_you_mean(per, PERIODS))) is not None:
        report(problem, *path)


def _check_rolling(limits: AllLimitsSection, report: Report) -> None:
    rolling = limits.rolling if isinstance(limits.rolling, list) else [limits.rolling]
    hours = [section.hours for section in rolling]
    for place, each in enumerate(hours):
        if each in hours[:place]:
            report(f"a window of {each} hours stands here twice; keep one", "limits", "rolling", place, "hours")


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
