"""Microsoft's agent framework."""

from pathlib import Path

from agent_framework import Agent, Content, Message
from cell import PROMPT, run, step
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def agent(**options):
    return Agent(client, instructions="Be brief.", name="guard", **options)


async def simple():
    return (await agent().run(PROMPT)).text


async def stream():
    return [piece.text async for piece in agent().run(PROMPT, stream=True) if piece.text]


async def tools():
    return (await agent(tools=[step]).run(PROMPT)).text


async def structured():
    answer = await agent().run(PROMPT, options={"response_format": Weather})
    return answer.value.model_dump()


async def images():
    picture = Content.from_data(Path("picture.png").read_bytes(), media_type="image/png")
    return (await agent().run(Message("user", [PROMPT, picture]))).text


run(simple, stream, tools, structured, images)
