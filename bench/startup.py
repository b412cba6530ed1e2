"""W9: how long it takes until something happens, each time in a new process."""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import anyio

from bench.stopwatch import Figures, Stopwatch, cpu_s_of
from organism.amounts import Limits
from organism.ledger.entries import decode_entry
from organism.ledger.ledger import Ledger
from organism.stores.sqlite import SqliteJournal

TRIES = 5
POLL_S = 0.005


def start(_count: int) -> Figures:
    """Measure the interpreter alone, the import, the first name, ``--help``, and the daemon until it is ready.

    With compiled modules, as an installed package has them and a clone from its second run on.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "compiled")
        home = Path(folder) / "home"
        _run(environment, "-m", "organism", "init", str(home))
        _ready(environment, home)  # compiles

        def measured(*arguments: str) -> float:
            return median(_run(environment, *arguments) for _ in range(TRIES))

        ready = [_ready(environment, home) for _ in range(TRIES)]
        return {
            "python_ms": measured("-c", "pass"),
            "import_ms": measured("-c", "import organism"),
            "import_Organism_ms": measured("-c", "from organism import Organism"),
            "help_ms": measured("-m", "organism", "--help"),
            "ready_ms": median(wall for wall, _ in ready),
            "ready_cpu_ms": median(cpu for _, cpu in ready),
        }


def _run(environment: dict[str, str], *arguments: str) -> float:
    """Run Python once and return how many milliseconds it took."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment)
    return (time.perf_counter() - began) * 1000


def _ready(environment: dict[str, str], home: Path) -> tuple[float, float]:
    """Start a daemon, stop it when it says it is ready, and return the milliseconds: on the wall, of the processor."""
    address = home / ".organism" / "daemon.json"
    address.unlink(missing_ok=True)
    command = [sys.executable, "-m", "organism", "daemon", "--file", str(home / "organism.yaml"), "--port", "0"]
    quiet = subprocess.DEVNULL
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, cwd=home) as daemon:
        try:
            while not address.exists() or not _answers(json.loads(address.read_bytes())["url"]):
                if daemon.poll() is not None:
                    raise RuntimeError("the daemon has ended")
                time.sleep(POLL_S)
            wall = time.perf_counter() - began
            return wall * 1000, cpu_s_of(daemon.pid) * 1000
        finally:
            daemon.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=1):  # noqa: S310 - on this machine
            return True
    except OSError:
        return False


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
