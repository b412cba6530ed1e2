"""CrewAI."""

from cell import PROMPT, run, step
from crewai import Agent
from crewai.tools import tool
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def guard(**options):
    return Agent(role="guard", goal="watch", backstory="a lighthouse", llm=llm, **options)


def simple():
    return guard().kickoff(PROMPT).raw


def stream():
    return llm.call(PROMPT)


def tools():
    return guard(tools=[tool("step")(step)]).kickoff(PROMPT).raw


def structured():
    return guard().kickoff(PROMPT, response_format=Weather).pydantic.model_dump()


run(simple, stream, tools, structured)
