"""What every side does: the same calls, made by its own means.

Only Python's own library is used here, for a peer's environment has no more.

A side is a program, ``python -m bench.trust.sides.NAME JOB``: it goes through one scene and writes what it has seen as
one line of JSON.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

MODEL = "gpt-4o-mini"
"""A model whose tokenizer every side knows."""
AT_ONCE = 3
"""Jobs under way at a time."""
SETTLED_S = 2.5
"""After how many seconds everything is over that a client has given up."""

Message = dict[str, str]
Job = dict[str, Any]


class RefusedError(Exception):
    """The budget has refused a call."""


class Side(Protocol):
    """A way of keeping a budget."""

    notes: list[str]

    async def call(self, messages: list[Message], *, stream: bool) -> str:
        """Make a call and return its text.

        Raises:
            RefusedError: If the budget refuses it.
        """

    async def spent(self) -> float:
        """Return the tokens of its own books."""

    async def warned(self) -> bool:
        """Whether a warning has been given."""

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Do jobs, and return how each ended; those that it knows to be done are not done again."""


def text_of(call: dict[str, Any]) -> str:
    """Return the words of a call, the first of which says its number."""
    few = ("time", "sea", "moon", "tide", "sand", "wind", "rock", "shore")
    return f"call-{call['number']} " + " ".join(few[number % len(few)] for number in range(call["words"]))


async def outcome_of(side: Side, call: dict[str, Any], messages: list[Message]) -> tuple[str, str]:
    """Make a call; return how it ended and its text."""
    try:
        async with asyncio.timeout(call["patience_s"]):
            return "answered", await side.call(messages, stream=call["stream"])
    except TimeoutError:
        return ("given up" if call["patience_s"] else "failed"), ""
    except RefusedError:
        return "refused", ""
    except Exception as error:  # noqa: BLE001 - whatever a peer raises, the call has failed
        print(f"{type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
        return "failed", ""


async def work_alone(side: Side, jobs: dict[int, str]) -> dict[int, str]:
    """Do jobs as a program does that keeps nothing: some at a time, all of them."""
    ended: dict[int, str] = {}
    left = list(jobs.items())

    async def worker() -> None:
        while left:
            number, text = left.pop(0)
            call = {"number": number, "stream": False, "patience_s": None}
            ended[number], _ = await outcome_of(side, call, [{"role": "user", "content": text}])

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return ended


async def _storm(side: Side, job: Job, told: dict[str, Any]) -> None:
    async def one(call: dict[str, Any]) -> None:
        outcome, _ = await outcome_of(side, call, [{"role": "user", "content": text_of(call)}])
        told["outcomes"].append((call["number"], outcome))

    await asyncio.gather(*map(one, job["calls"]))
    await asyncio.sleep(SETTLED_S)
    for number in range(job["probes"]):
        await one({"number": 100_000 + number, "words": 200, "stream": False, "patience_s": None})
        if told["outcomes"][-1][1] == "refused":
            break


async def _loop(side: Side, job: Job, told: dict[str, Any]) -> None:
    messages: list[Message] = []
    for turn, call in enumerate(job["calls"], 1):
        messages.append({"role": "user", "content": text_of(call)})
        outcome, text = await outcome_of(side, call, messages)
        told["outcomes"].append((call["number"], outcome))
        if outcome != "answered":
            return
        messages.append({"role": "assistant", "content": text})
        if told["warned"] is None and await side.warned():
            told["warned"] = turn


async def _work(side: Side, job: Job, told: dict[str, Any]) -> None:
    ended = await side.work({call["number"]: text_of(call) for call in job["calls"]})
    told["outcomes"] = list(ended.items())


_SCENES = {"storm": _storm, "loop": _loop, "work": _work}


def main(make: Callable[[Job], AbstractAsyncContextManager[Side]]) -> None:
    """Go through the scene that the command line gives."""
    job: Job = json.loads(sys.argv[1])

    async def run() -> None:
        told: dict[str, Any] = {"outcomes": [], "warned": None}
        async with make(job) as side:
            told["remembered"] = await side.spent()
            await _SCENES[job["scene"]](side, job, told)
            await asyncio.sleep(0.5)
            told["spent"] = await side.spent()
            told["notes"] = side.notes
        print(json.dumps(told), flush=True)

    asyncio.run(run())
