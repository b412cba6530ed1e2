"""The process ends when its work is done, whatever an agent's code has left running in it."""

import json
import subprocess
import sys
from pathlib import Path

LEFT = {
    "a plain handler": "def h(message: Text, ctx):\n    threading.Event().wait()",
    "to_thread": "async def h(message: Text, ctx):\n    await asyncio.to_thread(threading.Event().wait)",
    "AnyIO": (
        "async def h(message: Text, ctx):\n"
        "    await anyio.to_thread.run_sync(threading.Event().wait, abandon_on_cancel=True)"
    ),
    "a thread": (
        "async def h(message: Text, ctx):\n"
        "    threading.Thread(target=threading.Event().wait).start()\n    await anyio.sleep(60)"
    ),
    "a task": (
        "async def stays():\n    while True:\n        try:\n            await asyncio.sleep(60)\n"
        "        except BaseException:\n            pass\n"
        "async def h(message: Text, ctx):\n"
        "    ctx.log.info('x', task=asyncio.create_task(stays()))\n    await anyio.sleep(60)"
    ),
}


def begin(handler: str, folder: Path) -> subprocess.Popen[str]:
    """Begin `organism run` with a handler, in a folder of its own."""
    folder.mkdir()
    (folder / "h.py").write_text(
        f"import asyncio, threading\nimport anyio, anyio.to_thread\nfrom organism import Text\n{handler}\n"
    )
    config = {
        "name": "c",
        "entry": "a",
        "python_path": ["."],
        "bounds": {"attempts": 1},
        "agents": {"a": {"handler": "h:h", "timeout_seconds": 1}},
    }
    (folder / "organism.yaml").write_text(json.dumps(config))
    command = [sys.executable, "-m", "organism", "run", "x", "--json"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_run_ends_although_code_is_left_running(tmp_path: Path) -> None:
    """`organism run` says how it went and ends, with its exit code, within seconds of the agent's timeout."""
    # Side by side: each waits for its timeout and for what is left behind, which takes seconds and no processor.
    runs = {what: begin(handler, tmp_path / what) for what, handler in LEFT.items()}
    try:
        for what, run in runs.items():
            said, log = run.communicate(timeout=60)
            assert json.loads(said)["outcome"] == "failed", f"{what}: {log}"
            assert run.returncode != 0, what
    finally:
        for run in runs.values():
            run.kill()
