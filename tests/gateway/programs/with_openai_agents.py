"""OpenAI's agents: the runner runs the tool."""

import agents
from weather import QUESTION, main, weather

agents.set_tracing_disabled(disabled=True)  # it would go to OpenAI


async def ask(api: str, streamed: bool) -> str:
    agents.set_default_openai_api("responses" if api == "responses" else "chat_completions")
    agent = agents.Agent(
        name="meteorologist", instructions="Be brief.", model="main", tools=[agents.function_tool(weather)]
    )
    if not streamed:
        return str((await agents.Runner.run(agent, QUESTION)).final_output)
    run = agents.Runner.run_streamed(agent, QUESTION)
    async for _event in run.stream_events():
        pass
    return str(run.final_output)


main(ask)
