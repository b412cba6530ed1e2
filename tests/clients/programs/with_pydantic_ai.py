"""Pydantic AI."""

from pathlib import Path

from cell import PROMPT, run, step
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


async def simple():
    return (await Agent(model).run(PROMPT)).output


async def stream():
    async with Agent(model).run_stream(PROMPT) as ran:
        return [piece async for piece in ran.stream_text(delta=True, debounce_by=None)]


async def tools():
    return (await Agent(model, tools=[step]).run(PROMPT)).output


async def structured():
    by_tool = (await Agent(model, output_type=Weather).run(PROMPT)).output
    native = (await Agent(model, output_type=NativeOutput(Weather)).run(PROMPT)).output
    assert by_tool == native
    return native.model_dump()


async def images():
    picture = BinaryContent(Path("picture.png").read_bytes(), media_type="image/png")
    return (await Agent(model).run([PROMPT, picture])).output


run(simple, stream, tools, structured, images)
