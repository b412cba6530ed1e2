"""Tries clients through the gateway and prints a table: ``python -m tests.clients [--only NAME ...]``.

Each client is installed from its registry into a folder of its own in the user's cache (``--cache``), set up by what
docs/CLIENTS.md says, and run against a real daemon before a stub of the vendors; with ``--direct`` against the stub
alone, which shows what it can do. Exits with 1 if a cell fails.
"""

import argparse
import datetime as dt
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from tests.clients.catalog import CELLS, CLIENTS
from tests.clients.installing import CACHE, install
from tests.clients.trials import Cell, Trial, try_client

HEADS = {"warned": "warning", "spent": "budget ends", "ledger": "ledger = bill"}


def row(trial: Trial) -> str:
    """Write one line of the table."""
    shown = (_cell(trial.cells.get(name)) for name in CELLS)
    return f"| {trial.client} {trial.version} | {' | '.join(shown)} |"


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return "-"
    return " ".join(filter(None, ("NO" if cell.wrong else "ok", f"({cell.figure})" if cell.figure else "")))


def main() -> int:
    """Try what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[client.name for client in CLIENTS], help="these clients")
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), help="these cells")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where clients are installed")
    parser.add_argument("--newest", action="store_true", help="install the newest versions again")
    parser.add_argument("--keep", type=Path, help="keep what was said and logged in this folder")
    parser.add_argument("--direct", action="store_true", help="without the gateway")
    options = parser.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM):  # a shell's background ignores the first, and so would clients
        signal.signal(each, signal.default_int_handler)
    wrong: list[str] = []
    print(f"{dt.datetime.now(dt.UTC):%Y-%m-%d}\n")
    print(f"| client | {' | '.join(HEADS.get(cell, cell) for cell in CELLS)} | \n|{' --- |' * (len(CELLS) + 1)}")
    shown: list[str] = []
    for client in CLIENTS:
        if options.only and client.name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.keep / client.name if options.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                install(client, options.cache, newest=options.newest)
                trial = try_client(client, options.cache, folder, options.cells, direct=options.direct)
            except Exception:  # noqa: BLE001 - the others have their turn all the same
                wrong.append(f"{client.name}: {traceback.format_exc()}")
                continue
        print(row(trial), flush=True)
        shown.append(f"{client.name}: {trial.shown}")
        wrong += [f"{client.name} {name}: {cell.wrong}" for name, cell in trial.cells.items() if cell.wrong]
    print("\nWhat is shown when the budget ends:", *shown, "\nWrong:" if wrong else "", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
