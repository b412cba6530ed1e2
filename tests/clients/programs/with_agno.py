"""Agno, whose agents tell failures as answers."""

from pathlib import Path

from agno.agent import Agent
from agno.media import Image
from cell import PROMPT, run, step
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def agent(**options):
    return Agent(model=model, telemetry=False, **options)


async def simple():
    return (await agent().arun(PROMPT)).content


async def stream():
    return [event.content async for event in agent().arun(PROMPT, stream=True) if getattr(event, "content", None)]


async def tools():
    return (await agent(tools=[step]).arun(PROMPT)).content


async def structured():
    return (await agent(output_schema=Weather).arun(PROMPT)).content.model_dump()


async def images():
    picture = Image(content=Path("picture.png").read_bytes(), format="png", mime_type="image/png")
    return (await agent().arun(PROMPT, images=[picture])).content


run(simple, stream, tools, structured, images)
