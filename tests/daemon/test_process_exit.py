"""The process ends when its work is done, whatever an agent's code has left running in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("handler", LEFT.values(), ids=LEFT)
def test_a_run_ends_although_code_is_left_running(handler: str, tmp_path: Path) -> None:
    """`organism run` says how it went and ends, with its exit code, within seconds of the agent's timeout."""
    (tmp_path / "h.py").write_text(
        f"import asyncio, threading\nimport anyio, anyio.to_thread\nfrom organism import Text\n{handler}\n"
    )
    config = {
        "name": "c",
        "entry": "a",
        "python_path": ["."],
        "bounds": {"attempts": 1},
        "agents": {"a": {"handler": "h:h", "timeout_seconds": 1}},
    }
    (tmp_path / "organism.yaml").write_text(json.dumps(config))
    ended = subprocess.run(
        [sys.executable, "-m", "organism", "run", "x", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert json.loads(ended.stdout)["outcome"] == "failed", ended.stderr
    assert ended.returncode != 0
