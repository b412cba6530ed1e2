"""pydantic-ai: its agent runs the tool."""

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from weather import QUESTION, main, weather


async def ask(api: str, streamed: bool) -> str:
    model = OpenAIResponsesModel("main") if api == "responses" else OpenAIChatModel("main")
    agent = Agent(model, tools=[weather])
    if not streamed:
        return str((await agent.run(QUESTION)).output)
    async with agent.run_stream(QUESTION) as stream:
        return "".join([piece async for piece in stream.stream_text(delta=True)])


main(ask)
