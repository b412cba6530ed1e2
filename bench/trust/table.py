"""The figures of all sides as a table, and what is to be said beside it."""

from typing import Any

Found = dict[str, Any]
"""By scene, its figures."""

SCENES = ("storm", "loop", "work")

ROWS = {
    "storm: spent beyond the limit": ("storm", "overspent"),
    "storm: plain calls that still had room when one was refused": ("storm", "room left"),
    "storm: refused after it was paid": ("storm", "paid for nothing"),
    "storm: paid more than once": ("storm", "billed twice"),
    "storm: recorded less billed": ("storm", "recorded less billed"),
    "loop: spent beyond the limit": ("loop", "overspent"),
    "loop: refused at turn": ("loop", "refused at turn"),
    "loop: warned after turn": ("loop", "warned after turn"),
    "loop: recorded less billed": ("loop", "recorded less billed"),
    "kill -9: spend forgotten": ("work", "forgotten"),
    "kill -9: jobs paid before": ("work", "jobs paid before"),
    "kill -9: jobs paid twice, three of them under way": ("work", "jobs paid twice"),
    "kill -9: jobs lost": ("work", "jobs lost"),
}
"""What the table shows of which scene; tokens where nothing else is said."""


def table(found: dict[str, Found]) -> list[str]:
    """Write all figures as a table."""
    names = [f"{name} {each.get('version', '')}".strip() for name, each in found.items()]
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(found)}"]
    for row, (scene, figure) in ROWS.items():
        cells = [_cell(each, scene, figure) for each in found.values()]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return [*lines, "", *_remarks(found)]


def _cell(found: Found, scene: str, figure: str) -> str:
    if "absent" in found:
        return "-"
    if "failed" in found[scene]:
        return "failed"
    value = found[scene][figure]
    return "never" if value is None else f"{value:,}"


def _remarks(found: dict[str, Found]) -> list[str]:
    said = []
    for name, each in found.items():
        if "absent" in each:
            said.append(f"- {name}: {each['absent']}")
            continue
        said += [f"- {name}: {note}." for note in each["storm"].get("notes", ())]
        said += [
            f"- {name}, {key}: {each[key]['failed']}" for key in ("storm", "loop", "work") if "failed" in each[key]
        ]
    return said
