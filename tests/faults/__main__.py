"""Does to the program what the world may do to it, and measures what it costs: ``python -m tests.faults``.

Kills, power cuts, full and failing disks, providers that break off, lie or never end, floods, strangers, secrets: the
faults F1 to F51 of the reliability plan, each with real processes, files, sockets and databases where it needs them.
What a fault needs beside Python (PostgreSQL, room for killing) is found or said. Exits with 1 if a fault is not borne,
or was not tried.
"""

import argparse
import math
import sys
import time
from collections import Counter
from dataclasses import asdict

from tests.faults.campaign import Result, run_faults
from tests.faults.entries import FAULTS
from tests.faults.fault import Fault
from tests.mutate.trial import keep_json, run_main


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--only", nargs="+", metavar="FAULT", choices=[each.name for each in FAULTS], help="these faults"
    )
    parser.add_argument("--limit", type=float, default=1800, help="seconds for one fault (1800)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no further fault after so many")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too, as they come")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    if options.list:
        for fault in chosen:
            _describe(fault)
        return 0
    began = time.monotonic()
    known: list[Result] = []

    def say(result: Result) -> None:
        known.append(result)
        keep_json(options.json, [asdict(each) for each in known])
        figures = ", ".join(f"{name} {value:g}" for name, value in result.figures.items())
        print(
            f"[{len(known)}/{len(chosen)}] {result.fault}: {result.verdict} ({result.seconds:.0f} s) {figures}",
            flush=True,
        )

    results = run_faults(chosen, options.limit, say, until_s=began + 60 * options.minutes)
    _table(chosen, results)
    counts = Counter(result.verdict for result in results)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"\n{len(results)} faults in {time.monotonic() - began:.0f} s: {said}")
    return 1 if any(result.fails for result in results) else 0


def _describe(fault: Fault) -> None:
    lines = ", ".join(f"{name} {line}" for name, line in fault.figures.items())
    print(f"{fault.name} {fault.title}\n    {fault.injection}")
    print(f"    not applicable: {fault.why_not}" if fault.why_not else f"    {lines or 'every test passes'}")
    for test in fault.tests:
        print(f"    {test}")


def _table(faults: list[Fault], results: list[Result]) -> None:
    print("\n| fault | what goes wrong | cases | figures (pass line) | result |\n| --- | --- | --- | --- | --- |")
    for fault, result in zip(faults, results, strict=True):
        figures = ", ".join(f"{name} {value:g} ({fault.figures[name]})" for name, value in result.figures.items())
        why = " ".join(result.why.split()).replace("|", "\\|")[:200]
        verdict = f"{result.verdict}: {why}" if why else result.verdict
        print(f"| {fault.name} | {fault.title} | {result.cases} | {figures or 'every test passes'} | {verdict} |")


if __name__ == "__main__":
    sys.exit(run_main(main))
