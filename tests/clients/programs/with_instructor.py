"""Instructor, which is for answers of a shape."""

from cell import PROMPT, run
from pydantic import BaseModel


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


async def structured():
    messages = [{"role": "user", "content": PROMPT}]
    return (await client.chat.completions.create(messages=messages, response_model=Weather)).model_dump()


run(structured)
