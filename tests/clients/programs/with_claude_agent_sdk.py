"""Claude's agent SDK, which runs a Claude Code that it brings."""

from cell import PROMPT, SCHEMA, run
from cell import step as by_number
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, StreamEvent, create_sdk_mcp_server, query, tool


async def asked(**options):
    chosen = ClaudeAgentOptions(model="claude-sonnet-4-5", permission_mode="bypassPermissions", **options)
    return [message async for message in query(prompt=PROMPT, options=chosen)]


def result(messages):
    found = next(message for message in messages if isinstance(message, ResultMessage))
    return found.result or str(found)


async def simple():
    return result(await asked())


async def stream():
    events = [
        message.event for message in await asked(include_partial_messages=True) if isinstance(message, StreamEvent)
    ]
    return [event["delta"]["text"] for event in events if event.get("delta", {}).get("type") == "text_delta"]


async def tools():
    @tool("step", "Do the step of a number.", {"number": int})
    async def numbered(given):
        return {"content": [{"type": "text", "text": by_number(given["number"])}]}

    server = create_sdk_mcp_server("steps", tools=[numbered])
    return result(await asked(mcp_servers={"steps": server}))


async def structured():
    messages = await asked(output_format={"type": "json_schema", "schema": SCHEMA})
    return next(message for message in messages if isinstance(message, ResultMessage)).structured_output


async def images():
    return result(await asked())


run(simple, stream, tools, structured, images)
