"""LangChain: the tool is run by hand, as its own documents show it."""

from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from weather import QUESTION, main, weather


async def ask(api: str, streamed: bool) -> str:
    able = ChatOpenAI(model="main", use_responses_api=api == "responses").bind_tools([tool(weather)])
    said: list[Any] = [HumanMessage(QUESTION)]
    first = await able.ainvoke(said)
    (call,) = first.tool_calls
    said += [first, ToolMessage(weather(**call["args"]), tool_call_id=call["id"])]
    if not streamed:
        return str((await able.ainvoke(said)).text)
    whole: AIMessageChunk | None = None
    async for chunk in able.astream(said):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    return str(whole.text)


main(ask)
