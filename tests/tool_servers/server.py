"""A small MCP server, run by the tests over standard input and output or over HTTP."""

import os
import sys

from mcp.server.mcpserver import Image, MCPServer

server = MCPServer("small")

PICTURE = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03"


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def fail() -> str:
    """Fail."""
    raise ValueError("this went wrong")


@server.tool()
def secret() -> str:
    """Say what is in the environment."""
    return ",".join(sorted(name for name in os.environ if name.startswith("TEST_")))


@server.tool()
def picture() -> Image:
    """Show a picture."""
    return Image(data=PICTURE, format="png")


@server.tool()
def die() -> str:
    """End the server."""
    os._exit(3)


@server.tool()
async def sleep() -> str:
    """Sleep for long."""
    import anyio

    await anyio.sleep(600)
    return "awake"


if __name__ == "__main__":
    if "--broken" in sys.argv:
        sys.exit("there is no database")
    if "--port" in sys.argv:
        server.run("streamable-http", port=int(sys.argv[-1]))
    server.run("stdio")
