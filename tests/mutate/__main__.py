"""Takes guards out of the program, one at a time, and looks whether a named test notices: ``python -m tests.mutate``.

Works on copies in a temporary folder, never on this one. ``--score`` changes single operators of the rooms that count
money instead, chosen at random, and tells how many of these changes any test notices. One that was stopped, or whose
time was up, goes on with what was not tried yet if the code and the seed are the same. Exits with 1 if something is not
noticed, or if an entry does not fit the program any more.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.mutate.check import Verdict, check
from tests.mutate.entries import GUARDS
from tests.mutate.memory import KEPT, Memory, digest_of_code
from tests.mutate.score import ROOMS, Score, Survivor, Task, score
from tests.mutate.trial import keep_json, run_main


def main() -> int:
    """Check what is asked for."""
    options = _options()
    chosen = [guard for guard in GUARDS if not options.only or guard.name in options.only]
    if options.sample:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    if options.list:
        for guard in chosen:
            print(f"{guard.name}: {guard.promise}\n    {', '.join(guard.files)}; {', '.join(guard.tests)}")
        print(f"{len(chosen)} guards")
        return 0
    if options.score or options.survived:
        return _score(options)
    began = time.monotonic()

    said: list[Verdict] = []

    def say(verdict: Verdict) -> None:
        said.append(verdict)
        print(f"[{len(said)}/{len(chosen)}] {verdict.verdict:10} {verdict.guard} ({verdict.seconds:.1f} s)", flush=True)
        keep_json(options.json, [asdict(each) for each in said])

    verdicts = check(chosen, options.jobs, options.limit, say, until_s=began + 60 * options.minutes)
    _table(verdicts)
    failed = [verdict for verdict in verdicts if verdict.fails]
    counts = Counter(verdict.verdict for verdict in verdicts)
    print(f"\n{len(verdicts)} guards in {time.monotonic() - began:.0f} s: {_counted(counts)}")
    keep_json(options.json, [asdict(each) for each in verdicts])
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description=__doc__)
    parser.add_argument("--list", action="store_true", help="say what there is, and check nothing")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[each.name for each in GUARDS], help="these guards"
    )
    parser.add_argument("--sample", type=int, default=0, help="so many of them, chosen by --seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time; one for each core")
    parser.add_argument("--limit", type=float, default=180, help="seconds for the tests of one guard (180)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further one after so many")
    parser.add_argument("--json", metavar="FILE", help="write the verdicts there, too, as they come")
    parser.add_argument("--score", type=int, default=0, metavar="N", help="try N changes chosen at random instead")
    parser.add_argument(
        "--at-least", type=float, default=100, metavar="PER CENT", help="of the score, or it fails (100)"
    )
    parser.add_argument("--survived", metavar="FILE", help="try again those that survived in the figures of a score")
    parser.add_argument(
        "--forget", action="store_true", help="go on from no earlier score, and keep nothing for a next"
    )
    parser.add_argument("--rooms", nargs="+", choices=list(ROOMS), default=list(ROOMS), help="where --score makes them")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins (1)")
    return parser.parse_args()


def _table(verdicts: list[Verdict]) -> None:
    print("\n| guard | without it | noticed by |\n| --- | --- | --- |")
    for verdict in verdicts:
        why = " ".join(verdict.why.split()).replace("|", "\\|")[:100]
        print(f"| {verdict.guard} | {verdict.verdict} | {why} |")


def _score(options: argparse.Namespace) -> int:
    task = Task(options.rooms, options.score, options.seed, options.limit, options.minutes, _survived(options.survived))
    kept = None if task.only or options.forget else KEPT
    memory = Memory(kept, code=digest_of_code(), seed=options.seed)

    def keep(result: Score) -> None:
        keep_json(options.json, result.figures)

    result = score(task, lambda text: print(text, flush=True), keep=keep, memory=memory)
    print(f"\nchanges that could be made: {result.possible}; tried: {result.tried}, seed {options.seed}", end="")
    print(f"; {result.reused} of these by an earlier run" if result.reused else "")
    print("\n| room | possible | tried | noticed | the same program | survived |\n|" + " --- |" * 6)
    for room in options.rooms:
        counts = result.rooms[room]
        row = (counts["possible"], counts["tried"], counts["noticed"], counts["equivalent"], counts["survived"])
        print(f"| {room} | {' | '.join(map(str, row))} |")
    share, low, high = result.noticed
    print(f"noticed: {share:.1f} % of those that change the program; 95 % interval {low:.1f} to {high:.1f} %")
    _survivors(result.survivors)
    keep(result)
    return 1 if share < options.at_least or result.red else 0


def _survived(figures: str | None) -> set[str]:
    """Return the keys of the changes that survived in a score; where the program was rewritten they match nothing."""
    if figures is None:
        return set()
    found = json.loads(Path(figures).read_text(encoding="utf-8"))
    return {Survivor(**each).key for each in found["survivors"]}


def _survivors(survivors: list[Survivor]) -> None:
    if survivors:
        print("\nnoticed by no test:", *(f"  {each.place}: {each.change}" for each in survivors), sep="\n")


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(run_main(main))
