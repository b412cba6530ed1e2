"""A server of tools that a reload gives and takes away."""

from collections.abc import Callable

import anyio

from organism.agents.tools.tool import ToolOutput
from organism.llm.requests import Tool


class ToolServer:
    """A server of tools that knows whether it runs."""

    def __init__(self, says: str = "") -> None:
        self.name = "tools"
        self.says = says
        self.up = False

    async def run(self) -> None:
        self.up = True
        try:
            await anyio.sleep_forever()
        finally:
            self.up = False

    async def tools(self) -> tuple[Tool, ...]:
        return ()

    async def call(self, _tool: str, _arguments: str, _progress: Callable[[], None]) -> ToolOutput:
        return ToolOutput(self.says)
