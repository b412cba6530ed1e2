"""Semantic Kernel."""

from typing import Annotated

from cell import PROMPT, picture_url, run
from cell import step as by_number
from pydantic import BaseModel
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatPromptExecutionSettings
from semantic_kernel.contents import ChatMessageContent, ImageContent, TextContent
from semantic_kernel.functions import KernelArguments, kernel_function


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


class Steps:
    """The step."""

    @kernel_function(name="step", description="Do the step of a number.")
    def step(self, number: Annotated[int, "which"]) -> str:
        return by_number(number)


def agent(**options):
    return ChatCompletionAgent(service=service, name="guard", instructions="Be brief.", **options)


async def simple():
    return str(await agent().get_response(messages=PROMPT))


async def stream():
    return [str(piece.content) async for piece in agent().invoke_stream(messages=PROMPT) if str(piece.content)]


async def tools():
    return str(await agent(plugins=[Steps()]).get_response(messages=PROMPT))


async def structured():
    settings = OpenAIChatPromptExecutionSettings(response_format=Weather)
    return str(await agent(arguments=KernelArguments(settings=settings)).get_response(messages=PROMPT))


async def images():
    picture = ImageContent(data_uri=picture_url())
    message = ChatMessageContent(role="user", items=[TextContent(text=PROMPT), picture])
    return str(await agent().get_response(messages=message))


run(simple, stream, tools, structured, images)
