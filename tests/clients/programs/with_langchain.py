"""LangChain, and an agent of LangGraph's."""

from cell import PROMPT, picture, run, step
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def asked():
    return {"messages": [{"role": "user", "content": PROMPT}]}


async def simple():
    return (await model.ainvoke(PROMPT)).text


async def stream():
    found = [piece.text async for piece in model.astream(PROMPT)]
    return [piece for piece in found if piece]


async def tools():
    ran = await create_agent(model, [tool(step)]).ainvoke(asked(), {"recursion_limit": 40})
    return ran["messages"][-1].text


async def structured():
    one = await model.with_structured_output(Weather).ainvoke(PROMPT)
    ran = await create_agent(model, response_format=ProviderStrategy(Weather)).ainvoke(asked())
    assert one == ran["structured_response"]
    return one.model_dump()


async def images():
    part = {"type": "image", "source_type": "base64", "mime_type": "image/png", "data": picture()}
    return (await model.ainvoke([HumanMessage([{"type": "text", "text": PROMPT}, part])])).text


run(simple, stream, tools, structured, images)
