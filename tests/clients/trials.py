"""Runs a client through its cells and judges each by what a person would see, by its files and by the stub's bill."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from tests.clients.catalog import SCHEMA, STEP, Client
from tests.clients.installing import folder_of, program_path, version_of
from tests.clients.recipes import Recipe, read_recipes
from tests.clients.stage import BUCKETS, SPENT_CALLS, WARNED_CALLS, Stage, secret
from tests.clients.upstream_mind import DONE, HEARD, STEPS, WEATHER

PROGRAMS = Path(__file__).parent / "programs"
SENTENCES = {
    "simple": "Say where the lamp is seen.",
    "stream": "Say where the lamp is seen.",
    "tools": "Write notes.txt, read it, change it, count its lines and read the count.",
    "structured": "What is the weather like?",
    "parallel": "Do all five steps at once.",
    "images": "Look at the picture picture.png and say how large it is.",
    "cancel": "Count the waves.",
}
KEY_OF = {"warned": "warned", "spent": "spent", "cancel": "cancelled"}
PIXELS = (64, 48)
STOPS_WITHIN_S = 10.0
RETRIES_MAX = 1
UNSEEN_TOKENS = 2_500

_WARNING = re.compile(r"\d+ ?% of")


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a client."""

    out: str
    code: int | None
    ended_at: float
    refused_at: float | None


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cell: ``""`` if it works, else what is wrong; and a figure to show."""

    wrong: str = ""
    figure: str = ""


class Trial(msgspec.Struct, kw_only=True):
    """What came of a client."""

    client: str
    version: str
    cells: dict[str, Cell]
    shown: str = ""


def try_client(client: Client, cache: Path, folder: Path, cells: list[str], *, direct: bool = False) -> Trial:
    """Run all wanted cells that a client has, through the gateway or ``direct`` at the stub."""
    trial = Trial(client=client.name, version=version_of(client, cache), cells={})
    with Stage(folder) as stage:
        address = stage.upstream if direct else stage.gateway
        runner = Runner(client, cache, folder, stage, read_recipes(address)[client.name])
        try:
            for cell in (each for each in cells if each in client.cells):
                trial.cells[cell] = getattr(runner, f"cell_{cell}")()
        finally:
            runner.end_what_is_left()
        trial.shown = runner.shown
    return trial


class Runner:
    """Runs one client in a home of its own."""

    def __init__(self, client: Client, cache: Path, folder: Path, stage: Stage, recipe: Recipe) -> None:
        self._client, self._cache, self._stage, self._recipe = client, cache, stage, recipe
        self._home, self._folder = folder / "home", folder
        self._until_spent = next(each for each in ("tools", "structured") if each in client.cells)
        self.shown = ""
        self._refused_at: float | None = None
        self._cancelled: list[dict[str, Any]] = []
        self._home.mkdir()
        recipe.write_files(self._home)

    def end_what_is_left(self) -> None:
        """End the servers that some clients leave behind: the processes whose home is ours."""
        mark = f"HOME={self._home}".encode()
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    os.kill(int(path.parent.name), signal.SIGTERM)
            except OSError:
                continue  # it has ended, or is somebody else's

    def cell_simple(self) -> Cell:
        """An answer is shown."""
        return self._expect(self._run("simple"), HEARD)

    def cell_stream(self) -> Cell:
        """It is shown piece by piece; a program says in how many."""
        ran = self._run("stream")
        pieces = re.search(r'"pieces": (\d+)', ran.out)
        if pieces is not None and int(pieces[1]) < STEPS:
            return Cell(wrong=f"{pieces[1]} pieces")
        return self._expect(ran, HEARD)

    def cell_tools(self) -> Cell:
        """Five steps of a task are done: files are written and changed, or results of a function come back."""
        ran = self._run("tools")
        notes = self._work("tools") / "notes.txt"
        if (
            self._client.edits
            and not self._client.program
            and (not notes.exists() or notes.read_text().split() != ["one", "TWO"])
        ):
            return Cell(wrong=f"notes.txt is not as it should be; {_tail(ran.out)}")
        return self._expect(ran, DONE)

    def cell_structured(self) -> Cell:
        """An object that fits a schema is read."""
        ran = self._run("structured")
        plain = ran.out.replace('\\"', '"')
        wanted = [rf"\b{name}\W+{value}\b" for name, value in WEATHER.items()]
        return Cell() if all(re.search(each, plain) for each in wanted) else Cell(wrong=_tail(ran.out))

    def cell_parallel(self) -> Cell:
        """Five calls in one answer are run, and their results come back together."""
        return self._expect(self._run("parallel"), f"{DONE}: {STEPS} results")

    def cell_images(self) -> Cell:
        """A picture arrives as it is."""
        return self._expect(self._run("images"), "{}x{}".format(*PIXELS))

    def cell_warned(self) -> Cell:
        """A person sees that the budget is nearly spent, in a run before the one that is refused."""
        out = self._run("warned").out
        for _ in range(WARNED_CALLS):
            if _WARNING.search(out) or "budget exhausted" in out:
                break
            out += self._run("warned-simple").out
        return Cell() if _WARNING.search(out) else Cell(wrong=f"no warning; {_tail(out)}")

    def cell_spent(self) -> Cell:
        """An exhausted budget stops the client at once and is shown with every number."""
        before = self._stage.refusals()
        ran = self._run("spent")
        for _ in range(SPENT_CALLS):
            if self._stage.refusals() > before:
                break
            ran = self._run("spent")
        refused = self._stage.refusals() - before
        waited = ran.ended_at - (ran.refused_at or ran.ended_at)
        self.shown = _shown(ran.out)
        cell = Cell(figure=f"{max(0, refused - 1)} retries, {waited:.0f} s")
        if "budget exhausted in thread" not in ran.out or "organism budget raise" not in ran.out:
            return msgspec.structs.replace(cell, wrong=f"not shown; {_tail(ran.out)}")
        slow = waited > STOPS_WITHIN_S or refused > 1 + RETRIES_MAX or ran.code is None
        return msgspec.structs.replace(cell, wrong=f"goes on for {waited:.0f} s, {refused} refusals" if slow else "")

    def cell_cancel(self) -> Cell:
        """Ctrl-C ends the call at the vendor, and no less is charged than was billed, nor half as much again.

        What could have been thought unseen until then is charged too: 500 tokens a second.
        """
        before = len(self._stage.bill())
        self._run("cancel", interrupt=True)
        until = time.monotonic() + STOPS_WITHIN_S
        while time.monotonic() < until and self._stage.begun() > len(self._stage.bill()):
            time.sleep(0.1)
        calls = self._cancelled = self._stage.bill()[before:]
        if not any(call["how"] == "cut" for call in calls):
            return Cell(wrong=f"the vendor writes on: {[call['how'] for call in calls]}")
        billed = sum(sum(call["usage"].values()) for call in calls)
        recorded = self._settled("key-cancelled", billed)
        right = billed <= recorded <= billed * 1.5 + UNSEEN_TOKENS
        return Cell(figure=f"{recorded:,} for {billed:,}", wrong="" if right else "the ledger is far from the bill")

    def cell_ledger(self) -> Cell:
        """What the ledger has recorded of all calls that ended is what the stub has billed, kind by kind."""
        # A client may make other calls beside the one that is cancelled; the thread of those is looked at there.
        ended = (call for call in self._stage.bill() if call["how"] in ("streamed", "whole"))
        calls = [call for call in ended if call not in self._cancelled]
        billed = {each: sum(call["usage"][each] for call in calls) for each in BUCKETS}
        threads = [usage for thread, usage in self._stage.recorded().items() if thread != "key-cancelled"]
        recorded = {each: sum(usage[each] for usage in threads) for each in BUCKETS}
        for counts in (billed, recorded):  # Anthropic counts thoughts as output
            counts["output"] += counts.pop("reasoning")
        figure = f"{len(calls)} calls"
        return Cell(figure=figure, wrong="" if billed == recorded else f"recorded {recorded}, billed {billed}")

    def _settled(self, thread: str, at_least: int) -> int:
        """Return what is recorded of a thread once its last call is."""
        until, found = time.monotonic() + STOPS_WITHIN_S, 0
        while time.monotonic() < until and found < at_least:
            found = sum(self._stage.recorded().get(thread, {}).values())
            time.sleep(0.1)
        return found

    def _expect(self, ran: Ran, what: str) -> Cell:
        return Cell() if what in ran.out else Cell(wrong=_tail(ran.out) or f"nothing is shown, exit {ran.code}")

    def _work(self, cell: str) -> Path:
        work = self._folder / f"work-{cell}"
        if not work.exists():
            work.mkdir()
            (work / "picture.png").write_bytes(_png(*PIXELS))
        return work

    def _run(self, cell: str, *, interrupt: bool = False) -> Ran:
        """Run the client once; ``interrupt`` it as Ctrl-C does a moment after its answer has begun."""
        kind = cell.partition("-")[2] or (self._until_spent if cell in ("warned", "spent") else cell)
        cell = cell.partition("-")[0]
        work = self._work(cell)
        environment = {
            "PATH": program_path(self._client, self._cache),
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "ORGANISM_KEY": secret(KEY_OF.get(cell, "main")),
            "PROMPT": f"[cell {kind} in {work}] {SENTENCES[kind]}",
            "SCHEMA": SCHEMA,
            "STEP": STEP,
            "CELL": kind,
            "PYTHONPATH": str(PROGRAMS),
            "CELL_MODULE": str(PROGRAMS / "cell.mjs"),
            "PYTHONWARNINGS": "ignore",
            **self._client.environment,
        }
        log = self._folder / f"{cell}.out"
        with log.open("ab") as out:
            process = subprocess.Popen(
                ["bash", "-c", self._script(kind)],
                cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
            code = self._wait(process, interrupt=interrupt)
            ended_at = time.time()
        return Ran(
            out=log.read_text(encoding="utf-8", errors="replace"),
            code=code,
            ended_at=ended_at,
            refused_at=self._refused_at,
        )

    def _script(self, kind: str) -> str:
        """Write what the shell runs: the documented lines, and then the client."""
        if not self._client.program:
            return f"{self._recipe.lines}\n{self._client.also.get(kind, self._client.command)}"
        rest = (PROGRAMS / self._client.program).read_text(encoding="utf-8")
        suffix = Path(self._client.program).suffix
        # Node looks for packages beside the program.
        whole = folder_of(self._client, self._cache) / f"{self._client.name}-{os.getpid()}{suffix}"
        whole.write_text(f"{self._recipe.lines}\n{rest}", encoding="utf-8")
        return f"trap 'rm -f {whole}' EXIT\n{'python' if suffix == '.py' else 'node'} {whole}"

    def _wait(self, process: subprocess.Popen[bytes], *, interrupt: bool) -> int | None:
        until, begun = time.monotonic() + self._client.seconds, self._stage.begun()
        while interrupt and process.poll() is None and time.monotonic() < until and self._stage.begun() == begun:
            time.sleep(0.05)
        try:
            if interrupt:
                time.sleep(2)
                os.killpg(process.pid, signal.SIGINT)
                return process.wait(timeout=STOPS_WITHIN_S)
            return self._watch(process, until)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _watch(self, process: subprocess.Popen[bytes], until: float) -> int | None:
        """Await its end, and see when it was first refused."""
        refused = self._stage.refusals()
        self._refused_at = None
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.25)
            if self._refused_at is None and self._stage.refusals() > refused:
                self._refused_at = time.time()
        return None


_PAINT = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _tail(out: str) -> str:
    return " ".join(_PAINT.sub("", out).split())[-300:]


def _shown(out: str) -> str:
    """Return the line in which a person reads of the end."""
    lines = [line.strip() for line in _PAINT.sub("", out).splitlines() if line.strip()]
    return next((line for line in lines if "budget exhausted" in line), lines[-1] if lines else "")[:400]


def _png(width: int, height: int) -> bytes:
    """Draw a grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
