"""Shows again what is promised, and writes it down: ``python -m tests.proof``, or ``poe proof``.

Runs the simulators, the fault campaign, the mutation check and its score, the fuzzing, the audit of dependencies, the
comparison with the peers and the soak, each in its time, and renders ``docs/RELIABILITY.md`` from what they found. A
full one takes three to four hours, ``--short`` half of one; ``--quick`` takes minutes and shows that everything runs.
Each part leaves its file in ``build/proof``: a run that was stopped goes on where it was, and runs what is missing,
did not hold, or is of another commit; ``--again`` runs all. ``--render`` writes the report from what is there. Exits
with 1 if anything did not hold or was stopped; what nobody could be asked about is said on the page.
"""

import argparse
import sys
from pathlib import Path

from tests.mutate.guard import ROOT
from tests.mutate.trial import run_main
from tests.proof.parts import PARTS, machine, read, run, set_aside
from tests.proof.report import can_be_shown, render

BUILT = ROOT / "build" / "proof"


def main() -> int:
    """Run what is asked for and write the report."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--short", dest="form", action="store_const", const="short", help="half an hour in place of three to four"
    )
    form.add_argument("--quick", dest="form", action="store_const", const="quick", help="a little of each: minutes")
    parser.add_argument("--again", action="store_true", help="run also what is there already")
    parser.add_argument("--keep", nargs="+", default=[], choices=[part.name for part in PARTS],
        help="leave these as they are, of whatever commit: the report names it")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="run these parts")
    parser.add_argument("--render", action="store_true", help="run nothing; write the report from what is there")
    parser.add_argument("--folder", type=Path, default=BUILT, help="where parts leave what they found")
    parser.add_argument("--report", type=Path, help="folder of the report; docs/, or with --quick the same")
    given = parser.parse_args()
    set_aside(given.folder, can_be_shown, print)
    if not given.render:
        chosen = [part for part in PARTS if not given.only or part.name in given.only]
        for part in chosen if given.again else ():
            (given.folder / f"{part.name}.json").unlink(missing_ok=True)
        run(chosen, given.folder, given.form or "full", lambda text: print(text, flush=True), keep=given.keep)
    ran = read(given.folder)
    report = given.report or (given.folder if given.form == "quick" else ROOT / "docs")
    report.mkdir(parents=True, exist_ok=True)
    page = render(ran, machine())
    (report / "RELIABILITY.md").write_text(page.text, encoding="utf-8")
    for name, picture in page.pictures.items():
        (report / "plots").mkdir(exist_ok=True)
        (report / "plots" / name).write_text(picture, encoding="utf-8")
    print(f"{len(ran)} parts, report in {report / 'RELIABILITY.md'}")
    return 1 if any(each.failed for each in ran) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
