"""OpenAI's agents."""

from agents import Agent, Runner, function_tool
from cell import PROMPT, picture_url, run, step
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def agent(**options):
    return Agent(name="guard", instructions="Be brief.", model=MODEL, **options)


async def simple():
    return (await Runner.run(agent(), PROMPT)).final_output


async def stream():
    ran, found = Runner.run_streamed(agent(), PROMPT), []
    async for event in ran.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            found.append(event.data.delta)
    return found


async def tools():
    return (await Runner.run(agent(tools=[function_tool(step)]), PROMPT)).final_output


async def structured():
    return (await Runner.run(agent(output_type=Weather), PROMPT)).final_output.model_dump()


async def images():
    content = [{"type": "input_text", "text": PROMPT}, {"type": "input_image", "image_url": picture_url()}]
    return (await Runner.run(agent(), [{"role": "user", "content": content}])).final_output


run(simple, stream, tools, structured, images)
