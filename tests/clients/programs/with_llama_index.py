"""LlamaIndex."""

from cell import PROMPT, picture, run, step
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


async def simple():
    return (await llm.achat([ChatMessage(PROMPT)])).message.content


async def stream():
    return [piece.delta async for piece in await llm.astream_chat([ChatMessage(PROMPT)]) if piece.delta]


async def tools():
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(step)], llm=llm, system_prompt="Be brief.")
    return str(await agent.run(PROMPT))


async def structured():
    return (await llm.as_structured_llm(Weather).achat([ChatMessage(PROMPT)])).raw.model_dump()


async def images():
    blocks = [TextBlock(text=PROMPT), ImageBlock(image=picture().encode(), image_mimetype="image/png")]
    return (await llm.achat([ChatMessage(role="user", blocks=blocks)])).message.content


run(simple, stream, tools, structured, images)
