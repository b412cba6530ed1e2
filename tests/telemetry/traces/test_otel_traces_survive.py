"""A thread that outlives its process is still one trace: part of it sent before the kill, part of it after."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 60

PROGRAM = """
import os, sys
from pathlib import Path
import anyio
from organism import Context, Organism, Text, agent
from organism.telemetry.otel import otel_exporting
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider

folder, first_life = Path(sys.argv[1]), sys.argv[2] == "first"

@agent(next="second")
async def first(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)

@agent()
async def second(message: Text, ctx: Context) -> Text:
    if first_life:
        await anyio.sleep_forever()
    return message

async def main() -> None:
    organism = Organism(
        [first, second],
        name="lasting",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(["one two three"])},
        journal=SqliteJournal(folder / "journal.sqlite"),
    )
    async with otel_exporting(organism, os.environ), organism:
        if first_life:
            await organism.open_thread("go", thread_id="th_lasting")
            await anyio.sleep_forever()
        print((await organism.wait("th_lasting")).outcome)

anyio.run(main)
"""


def test_thread_keeps_its_trace_through_a_kill(otlp: Any, tmp_path: Path) -> None:
    """After ``kill -9`` the thread's later spans join the earlier ones: one trace, one root, nothing twice."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    command = [sys.executable, str(program), str(tmp_path)]
    with subprocess.Popen([*command, "first"], env=environment) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not otlp.named("chat"):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)  # what another process sends comes when it comes
        process.kill()
    resumed = subprocess.run(
        [*command, "second"], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )

    assert resumed.stdout == "completed\n", resumed.stderr
    (thread,) = otlp.named("invoke_workflow lasting")
    (before,) = otlp.named("invoke_agent first")
    (after,) = otlp.named("invoke_agent second")
    (call,) = otlp.named("chat m")
    assert {span.trace_id for span in otlp.spans} == {thread.trace_id}
    assert before.parent_id == after.parent_id == thread.span_id
    assert call.parent_id == before.span_id
    assert after.links == [before.span_id]
