"""Programs that have never heard of organism: LangChain, pydantic-ai and OpenAI's agents, told a base URL and a key.

Each is a process of its own with two variables in its environment. It has a model use a tool and answer, whole and
streamed, in both of OpenAI's formats, and then runs into a spent budget.
"""

import json
import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Limits
from organism.llm.requests import ToolCall
from organism.testing import HTTPStep
from tests.gateway.conftest import KEY

pytestmark = [pytest.mark.anyio, pytest.mark.thorough]

Serve = Callable[..., AbstractAsyncContextManager[Any]]
PROGRAMS = sorted((Path(__file__).parents[1] / "programs").glob("with_*.py"))


def script(request: Any) -> HTTPStep:
    """Ask for the tool, and once there is a result say it."""
    told = [turn["content"] for turn in request.body["messages"] if turn["role"] == "tool"]
    if told:
        return HTTPStep(text=f"There is {told[-1]}.")
    (tool,) = request.body["tools"]
    assert tool["function"]["parameters"]["required"] == ["city"]
    call = ToolCall("call_1", tool["function"]["name"], json.dumps({"city": "Oslo"}))
    return HTTPStep(text="", tool_calls=(call,))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
async def test_program_runs_unchanged_until_its_thread_has_spent_everything(served: Serve, program: Path) -> None:
    """It does what it always does and its thread pays; then it stops with the error it knows, after one request."""
    async with served(script, limits=Limits(calls=8)) as gateway:
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        environment |= {"OPENAI_BASE_URL": str(gateway.client.base_url), "OPENAI_API_KEY": KEY}
        with anyio.fail_after(120):
            ran = await anyio.run_process([sys.executable, str(program)], env=environment, stderr=None)

        got = json.loads(ran.stdout)
        assert got["said"] == ["There is rain in Oslo."] * 4
        spent = gateway.organism.budgets.budget("key-ci").spent
        assert (spent.calls, spent.tokens) == (8, gateway.provider.billed.total)
        assert got["refused"]["status"] == 402
        assert "budget exhausted in thread key-ci" in got["refused"]["text"]
        assert len(gateway.provider.requests) == 8
