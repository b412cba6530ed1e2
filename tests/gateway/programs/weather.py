"""What the programs beside this one have in common: a tool, a question, and that they say as JSON what they got."""

import asyncio
import json
from collections.abc import Awaitable, Callable

QUESTION = "How is the weather in Oslo?"


def weather(city: str) -> str:
    """Say the weather of a city."""
    return f"rain in {city}"


def main(ask: Callable[[str, bool], Awaitable[str]]) -> None:
    """Ask in both formats, whole and streamed, and then once too often."""

    async def run() -> dict[str, object]:
        said = [await ask(api, streamed) for api in ("chat", "responses") for streamed in (False, True)]
        try:
            await ask("chat", False)
        except Exception as error:  # noqa: BLE001 - whatever the program's library makes of it
            refused = {"status": getattr(error, "status_code", None), "text": str(error), "type": type(error).__name__}
        return {"said": said, "refused": refused}

    print(json.dumps(asyncio.run(run())))  # noqa: T201
