"""What every program has: the cell it is to run, and how it tells what came of it."""

import asyncio
import base64
import inspect
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

CELL, PROMPT = os.environ["CELL"], os.environ["PROMPT"]
SCHEMA = json.loads(os.environ["SCHEMA"])
TURNS = 9


def step(number: int) -> str:
    """Do the step of a number."""
    return f"result-{number * 7}"


STEP = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}


def picture() -> str:
    """Return the picture as base64."""
    return base64.b64encode(Path("picture.png").read_bytes()).decode()


def picture_url() -> str:
    """Return the picture as an address that holds it."""
    return f"data:image/png;base64,{picture()}"


def run(*ways: Callable[[], Awaitable[object] | object]) -> None:
    """Run the way that is named like the cell, and print what it returns: a text, or the pieces of one.

    A stream is what is cancelled; calls in parallel are those of the tools, in three conversations at once.
    """
    by_name = {way.__name__: way for way in ways}
    way = by_name[{"cancel": "stream", "parallel": "tools"}.get(CELL, CELL)]

    async def all_of_it() -> Any:
        found = [way() for _ in range(3 if CELL == "parallel" and inspect.iscoroutinefunction(way) else 1)]
        texts = await asyncio.gather(*found) if inspect.isawaitable(found[0]) else found
        return texts[0] if all(isinstance(text, type(texts[0])) for text in texts) else None

    found = asyncio.run(all_of_it()) if inspect.iscoroutinefunction(way) else way()
    if isinstance(found, list):
        print(json.dumps({"text": "".join(found), "pieces": len(found)}))
    else:
        print(json.dumps({"text": found if isinstance(found, str) else json.dumps(found)}))
