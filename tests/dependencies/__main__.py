"""Pins what would be installed by its hashes, and asks what is known against it: ``python -m tests.dependencies``.

An environment of its own gets ``pip-audit``, which asks about each package that ``constraints.txt`` makes pip choose
for all extras. Nothing of them is installed. Exits with 1 if a package has no hash or something is known against one,
and with 3 if that is not known of all.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests.dependencies.audit import AUDITOR, Audit, audited, locked
from tests.mutate.guard import ROOT
from tests.mutate.trial import keep_json


def main() -> int:
    """Pin, ask, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.dependencies", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--lock", metavar="FILE", help="write the packages with their hashes there: pip's -r reads it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="organism-audit-") as folder:
        try:
            found, lines = _asked(Path(folder))
        except subprocess.CalledProcessError as error:
            last = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
            found, lines = Audit(why=f"{Path(str(error.cmd[0])).name} has failed: {' '.join(last)}"), []
    if options.lock and lines:
        Path(options.lock).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    keep_json(options.json, found.figures)
    sys.stdout.write(f"{json.dumps(found.figures, indent=1)}\n")
    return found.code


def _asked(folder: Path) -> tuple[Audit, list[str]]:
    venv.create(folder / "env", with_pip=True)
    programs = folder / "env" / "bin"
    report, lock, answer = folder / "report.json", folder / "locked.txt", folder / "answer.json"
    _run(programs / "pip", "install", "--quiet", AUDITOR)
    _run(programs / "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary", ":all:",
         "--report", report, "--constraint", ROOT / "constraints.txt", f"{ROOT}[all]")  # fmt: skip
    lines, without = locked(json.loads(report.read_text(encoding="utf-8")))
    lock.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _run(programs / "pip-audit", "--require-hashes", "--disable-pip", "--requirement", lock, "--format", "json",
         "--output", answer, "--progress-spinner", "off", codes=(0, 1))  # fmt: skip
    return audited(lines, without, json.loads(answer.read_text(encoding="utf-8"))), lines


def _run(*command: "str | Path", codes: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in codes:
        raise subprocess.CalledProcessError(done.returncode, list(map(str, command)), done.stdout, done.stderr)


if __name__ == "__main__":
    sys.exit(main())
