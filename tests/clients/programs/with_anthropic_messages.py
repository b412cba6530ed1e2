"""Anthropic's SDK: its streams, its runner of tools, and parsed answers; the model thinks."""

from anthropic import beta_async_tool
from cell import PROMPT, picture, run, step
from pydantic import BaseModel

ASKED = {"model": "claude-sonnet-4-5", "max_tokens": 4000}
THINKING = {"type": "enabled", "budget_tokens": 1024}


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def text_of(message):
    assert [block.type for block in message.content][-1] == "text"
    return "".join(block.text for block in message.content if block.type == "text")


async def simple():
    messages = [{"role": "user", "content": PROMPT}]
    return text_of(await client.messages.create(**ASKED, thinking=THINKING, messages=messages))


async def stream():
    messages = [{"role": "user", "content": PROMPT}]
    async with client.messages.stream(**ASKED, thinking=THINKING, messages=messages) as events:
        return [piece async for piece in events.text_stream]


async def tools():
    @beta_async_tool(name="step")
    async def by_number(number: int) -> str:
        """Do the step of a number."""
        return step(number)

    messages = [{"role": "user", "content": PROMPT}]
    runner = client.beta.messages.tool_runner(**ASKED, thinking=THINKING, messages=messages, tools=[by_number])
    return text_of(await runner.until_done())


async def structured():
    messages = [{"role": "user", "content": PROMPT}]
    answer = await client.messages.parse(**ASKED, messages=messages, output_format=Weather)
    return answer.parsed_output.model_dump()


async def images():
    source = {"type": "base64", "media_type": "image/png", "data": picture()}
    content = [{"type": "image", "source": source}, {"type": "text", "text": PROMPT}]
    return text_of(await client.messages.create(**ASKED, messages=[{"role": "user", "content": content}]))


run(simple, stream, tools, structured, images)
