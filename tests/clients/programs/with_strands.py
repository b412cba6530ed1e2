"""Strands."""

from pathlib import Path

from cell import PROMPT, run
from cell import step as by_number
from pydantic import BaseModel
from strands import Agent, tool


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool(name="step")
def numbered(number: int) -> str:
    """Do the step of a number."""
    return by_number(number)


def agent(**options):
    return Agent(model=model, callback_handler=None, **options)


async def simple():
    return str(await agent().invoke_async(PROMPT))


async def stream():
    return [event["data"] async for event in agent().stream_async(PROMPT) if "data" in event]


async def tools():
    return str(await agent(tools=[numbered]).invoke_async(PROMPT))


async def structured():
    ran = await agent().invoke_async(PROMPT, structured_output_model=Weather)
    return ran.structured_output.model_dump()


async def images():
    picture = {"image": {"format": "png", "source": {"bytes": Path("picture.png").read_bytes()}}}
    return str(await agent().invoke_async([{"text": PROMPT}, picture]))


run(simple, stream, tools, structured, images)
