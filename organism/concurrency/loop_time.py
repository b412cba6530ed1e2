"""The clock that deadlines run on."""

import asyncio


def loop_time() -> float:
    """Return seconds on the event loop's clock; AnyIO's own looks each time which library runs, 60 instructions."""
    return asyncio.get_running_loop().time()
