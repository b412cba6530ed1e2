"""W9: how long it takes until something happens, each time in a new process."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import anyio

from bench.stopwatch import Figures, Stopwatch
from organism.amounts import Limits
from organism.ledger.entries import decode_entry
from organism.ledger.ledger import Ledger
from organism.stores.sqlite import SqliteJournal

TRIES = 5


def _run(*arguments: str) -> float:
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return median(times) * 1000


def start(_count: int) -> Figures:
    """Measure the interpreter alone, the import, the first name, and ``--help``."""
    return {
        "python_ms": _run("-c", "pass"),
        "import_ms": _run("-c", "import organism"),
        "import_Organism_ms": _run("-c", "from organism import Organism"),
        "help_ms": _run("-m", "organism", "--help"),
    }


def recover(entries: int) -> Figures:
    """Read a journal of so many ledger entries back and rebuild every balance."""

    async def main() -> Figures:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "journal.sqlite"
            async with SqliteJournal(path) as journal:
                ledger = Ledger(journal.append)
                for number in range(entries):
                    ledger.open(f"thread:{number}", Limits(tokens=1000), number + 1)
            async with SqliteJournal(path) as journal:
                with Stopwatch() as watch:
                    Ledger().restore(map(decode_entry, journal.load().entries))
            return watch.per(entries) | {"seconds": watch.wall_s}

    return anyio.run(main)
