"""AutoGen."""

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ModelClientStreamingChunkEvent, MultiModalMessage
from autogen_core import Image
from cell import PROMPT, picture, run, step
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def agent(**options):
    return AssistantAgent("guard", client, system_message="Be brief.", **options)


async def simple():
    return (await agent().run(task=PROMPT)).messages[-1].content


async def stream():
    events = agent(model_client_stream=True).run_stream(task=PROMPT)
    return [event.content async for event in events if isinstance(event, ModelClientStreamingChunkEvent)]


async def tools():
    ran = await agent(tools=[step], max_tool_iterations=9).run(task=PROMPT)
    return ran.messages[-1].content


async def structured():
    return (await agent(output_content_type=Weather).run(task=PROMPT)).messages[-1].content.model_dump()


async def images():
    task = MultiModalMessage(content=[PROMPT, Image.from_base64(picture())], source="user")
    return (await agent().run(task=task)).messages[-1].content


run(simple, stream, tools, structured, images)
