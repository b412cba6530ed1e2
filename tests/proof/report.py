"""Renders what the parts found as a page for people, with nothing of the machine but what figures depend on."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.trust.table import table as trust_table
from tests.dependencies.audit import UNKNOWN
from tests.faults.entries import FAULTS
from tests.mutate.entries import GUARDS
from tests.proof.parts import PARTS, Ran
from tests.proof.plots import bars, line

_HEAD = """\
# Reliability

What was tried to make organism overspend, lose something, bill twice, or accept what it must not, and what came of it.
This page is written by a command; run it and compare:

```sh
python -m tests.proof            # everything: three to four hours; writes this page
python -m tests.proof --short    # the same in half an hour
python -m tests.proof --quick    # a little of everything, in minutes; its page goes to build/proof
```

Each part leaves its figures in `build/proof`; a run that was stopped goes on with those that are not there, or are of
another commit.

What is promised is in [Guarantees](GUARANTEES.md), each line with its test. This page says how hard that was tried.
"""


_RESULTS = {0: "held", UNKNOWN: "pinned; the rest **not asked**, see below"}
"""What the code of a part says."""


@dataclass
class Page:
    """A page, and its pictures by their names."""

    text: str
    pictures: dict[str, str] = field(default_factory=dict)


def render(ran: Sequence[Ran], on: str) -> Page:
    """Write the page."""
    page = Page("")
    titles = {part.name: part.title for part in PARTS}
    machines = dict.fromkeys(each.machine or on for each in ran)
    head = ("part", "form", "commit", "began (UTC)", "minutes", "load", "result")
    lines = [_HEAD, f"Machine: {'; '.join(machines) or on}.\n", *_table(head, _summary(ran))]
    if missing := [part.name for part in PARTS if part.name not in {each.part for each in ran}]:
        lines.append(f"\nNot run this time: {', '.join(missing)}.")
    lines.append(
        "\nForm: `full` is what the command does by itself, `short` and `quick` are less of it. Load: how many"
        "\nprocesses, of others too, wanted a processor when the part ended. A `+`: files differed from the commit."
    )
    for each in ran:
        lines += [f"\n## {titles[each.part]}\n", f"`{each.command}`\n"]
        if each.stopped:
            lines.append(
                f"It was stopped before its end{'' if each.found is None else '; this is what it had so far'}.\n"
            )
        if each.found is None:
            lines.append("It has written no figures.")
        else:
            lines += _SECTIONS[each.part](each.found, page)
    page.text = "\n".join(lines).rstrip() + "\n"
    return page


def can_be_shown(one: Ran) -> bool:
    """Whether the figures of a part are as this version of the proof writes them."""
    try:
        render([one], "")
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return True


def _summary(ran: Iterable[Ran]) -> Iterator[tuple[object, ...]]:
    for each in ran:
        held = "**stopped**" if each.stopped else _RESULTS.get(each.code, "**did not hold**, see below")
        load = "not noted" if each.load is None else f"{each.load:g}"
        yield each.part, each.form, f"`{each.commit}`", each.date, f"{each.seconds / 60:.0f}", load, held


def _simulator(found: Mapping[str, Any], _page: Page) -> Iterator[str]:
    possible, never = found["possible"], found["never"]
    yield (
        f"{found['runs']:,} organisms (seeds from {found['first_seed']}), {found['lives']:,} processes of theirs, "
        f"{found['records']:,} records checked against the reference model and the invariants: "
        f"{'no failure' if not found['failure'] else 'FAILED'}.\n"
    )
    yield (
        f"Of {possible} moves of threads, outcomes of what is paid for and kinds of records, "
        f"{possible - len(never)} happened"
        f"{'' if not never else '; never: ' + ', '.join(never)}.\n"
    )
    if found["failure"]:
        yield f"```text\n{found['failure']}\n```\n"
    seen = found["seen"]
    known = {**dict.fromkeys(never, 0), **seen}
    yield "Each move that a thread may make from one state to the next, and how often it was made:\n"
    moves = sorted(name.split()[1:] for name in known if name.startswith("move "))
    yield from _table(
        ("state", "move", "how often"), ((*each, f"{known[' '.join(('move', *each))]:,}") for each in moves)
    )
    yield "\nThe outcome table: what was paid for, and how it ended (`-`: cannot be):\n"
    outcomes = [name.split()[1:] for name in known if name.startswith("outcome ")]
    kinds, ends = (sorted({each[place] for each in outcomes}) for place in (0, 1))
    rows = ((kind, *(_times(known.get(f"outcome {kind} {end}")) for end in ends)) for kind in kinds)
    yield from _table(("operation", *ends), rows)
    yield "\nWhat no run can bring about:\n"
    yield from _table(("what", "why"), found.get("unreachable", {}).items())
    rest = ((name, f"{times:,}") for name, times in seen.items() if not name.startswith(("move ", "outcome ")))
    yield "\n<details><summary>All else that happened, by its name</summary>\n"
    yield from _table(("what happened", "how often"), rest)
    yield "\n</details>"


def _times(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _clusters(found: Mapping[str, Any], _page: Page) -> Iterator[str]:
    possible, never = found["possible"], found["never"]
    yield (
        f"{found['runs']:,} clusters (seeds from {found['first_seed']}), {found['lives']:,} takings of a partition "
        f"by a node, {found['records']:,} records checked, each group against who may write it: "
        f"{'no failure' if not found['failure'] else 'FAILED'}.\n"
    )
    said = f"; never: {', '.join(never)}" if never else ""
    yield f"Of {possible} things that befall a cluster, {possible - len(never)} happened{said}.\n"
    if found["failure"]:
        yield f"```text\n{found['failure']}\n```\n"
    seen = ((name, f"{times:,}") for name, times in found["seen"].items() if name.startswith(("node ", "a ")))
    yield from _table(("what happened", "how often"), seen)


def _faults(found: Sequence[Mapping[str, Any]], _page: Page) -> Iterator[str]:
    named = {fault.name: fault for fault in FAULTS}
    yield f"{len(found)} of {len(named)} faults: {_counted(each['verdict'] for each in found)}.\n"
    if left := [name for name in named if name not in {each["fault"] for each in found}]:
        yield f"Not tried in this form: {', '.join(left)}.\n"
    yield from _table(
        ("fault", "what goes wrong", "cases", "figures (pass line)", "result"),
        (
            (
                each["fault"],
                named[each["fault"]].title,
                each["cases"],
                _measured(each["figures"], named[each["fault"]].figures) or "every test passes",
                _cell(f"{each['verdict']}: {each['why']}" if each["why"] else each["verdict"]),
            )
            for each in found
        ),
    )


def _measured(figures: Mapping[str, float], lines: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value:g} ({lines[name]})" for name, value in figures.items())


def _mutation(found: Sequence[Mapping[str, Any]], _page: Page) -> Iterator[str]:
    yield f"{len(found)} of {len(GUARDS)} guards: {_counted(each['verdict'] for each in found)}.\n"
    bad = [each for each in found if each["verdict"] not in ("caught", "not tried")]
    if bad:
        rows = ((each["guard"], each["verdict"], _cell(each["why"])) for each in bad)
        yield from _table(("guard", "without it", "why"), rows)
        yield ""
    caught = ", ".join(f"`{each['guard']}`" for each in found if each["verdict"] == "caught")
    yield f"Caught, each by its named test: {caught or 'none'}."


def _score(found: Mapping[str, Any], _page: Page) -> Iterator[str]:
    share, low, high = found["noticed"]
    yield (
        f"{found['tried']:,} of {found['possible']:,} possible changes, chosen at random over all rooms named here: "
        f"{share:.1f} % of those\nthat matter noticed, and of all that could be made {low:.1f} to {high:.1f} % "
        "(95 % interval; each room counts by its possible changes).\n"
    )
    if found["reused"]:
        yield f"{found['reused']:,} of them were tried by a run before, which was stopped, of the same code and seed.\n"
    names = ("possible", "tried", "noticed", "equivalent", "survived")
    yield from _table(
        ("room", *names), ((room, *(each.get(name, 0) for name in names)) for room, each in found["rooms"].items())
    )
    for room, why in found.get("red", {}).items():
        yield f"\nNothing is known of {room}, whose tests did not pass without any change: {_cell(why)}."
    if late := sum(found["late"].values()):
        yield f"\nNot in it: {late} of those that were drawn, which take a process each; the time was up."
    if found["survivors"]:
        yield "\nNoticed by no test:\n"
        yield from (f"- `{each['place']}`: `{each['change']}`" for each in found["survivors"])


def _fuzzing(found: Mapping[str, Any], _page: Page) -> Iterator[str]:
    kinds = found["kinds"]
    inputs, faults = (sum(each[name] for each in kinds.values()) for name in ("inputs", "faults"))
    yield f"{inputs:,} inputs from seed {found['seed']}, {faults} faults.\n"
    yield from _table(
        ("input", "how many", "faults", "slowest in s"),
        ((name, f"{each['inputs']:,}", each["faults"], f"{each['slowest_s']:.2f}") for name, each in kinds.items()),
    )


def _dependencies(found: Mapping[str, Any], _page: Page) -> Iterator[str]:
    locked, answered = found["locked"], found["answered"]
    yield f"{locked} packages for all extras are pinned by the hash of their file; {len(found['without'])} have none.\n"
    if found["why"]:
        yield f"Not done: {_cell(found['why'])}.\n"
    elif answered:
        yield f"Asked about {answered} of them: {len(found['known'])} weaknesses are known.\n"
    if answered < locked and not found["why"]:
        yield (
            f"Not asked about {locked - answered}: the package index that this was run with answers no questions about "
            "weaknesses,\nso nothing is known of these, for good or bad. Where the public index is reached, the same "
            "command asks it.\n"
        )
    yield from (f"- no hash: {name}" for name in found["without"])
    if found["known"]:
        rows = ((each["package"], each["version"], each["id"], each["fixed in"]) for each in found["known"])
        yield from _table(("package", "version", "what is known", "fixed in"), rows)


def _trust(found: dict[str, Any], page: Page) -> Iterator[str]:
    yield "Tokens where nothing else is said. All make the same calls to one provider, which keeps its own bill.\n"
    yield from trust_table(found)
    storms = {name: each["storm"] for name, each in found.items() if "overspent" in each.get("storm", {})}
    over = {name: 100 * each["overspent"] / each["limit"] for name, each in storms.items()}
    page.pictures["overspent.svg"] = bars("Storm: spent beyond the limit, in % of it", over, bad_above=0)
    yield "\n![Spent beyond the limit](plots/overspent.svg)"


def _soak(found: Mapping[str, Any], page: Page) -> Iterator[str]:
    yield from _table(("figure", "value"), ((name, _cell(str(value))) for name, value in found.items()))
    if memory := found.get("memory_mb"):
        page.pictures["memory.svg"] = line("Soak: memory of the daemon over time", memory, "MB")
        yield "\n![Memory of the daemon](plots/memory.svg)"


_SECTIONS: Mapping[str, Callable[[Any, Page], Iterable[str]]] = {
    "simulator": _simulator,
    "clusters": _clusters,
    "faults": _faults,
    "mutation": _mutation,
    "score": _score,
    "fuzzing": _fuzzing,
    "dependencies": _dependencies,
    "trust": _trust,
    "soak": _soak,
}


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def _counted(verdicts: Iterable[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in Counter(verdicts).most_common())


def _cell(text: str) -> str:
    """Fit text into a cell, without the paths of the machine that said it."""
    said = " ".join(word for word in text.split() if not word.startswith(("/", "'/", '"/')))
    return said.replace("|", "\\|")[:200]
