"""OpenAI's SDK with responses: its helpers for streams and parsed answers, and tools over kept answers."""

import json

from cell import PROMPT, STEP, TURNS, picture_url, run, step
from pydantic import BaseModel

MODEL = "gpt-5-mini"
TOOL = {"type": "function", "name": "step", "description": "A step.", "parameters": STEP, "strict": False}


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


async def simple():
    return (await client.responses.create(model=MODEL, input=PROMPT)).output_text


async def stream():
    found = []
    async with client.responses.stream(model=MODEL, input=PROMPT) as events:
        async for event in events:
            if event.type == "response.output_text.delta":
                found.append(event.delta)
    return found


async def tools():
    answer = await client.responses.create(model=MODEL, input=PROMPT, tools=[TOOL], reasoning={"effort": "low"})
    for _ in range(TURNS):
        calls = [item for item in answer.output if item.type == "function_call"]
        if not calls:
            return answer.output_text
        results = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": step(**json.loads(call.arguments)),
            }
            for call in calls
        ]
        answer = await client.responses.create(
            model=MODEL, input=results, tools=[TOOL], previous_response_id=answer.id, reasoning={"effort": "low"}
        )
    return None


async def structured():
    return (await client.responses.parse(model=MODEL, input=PROMPT, text_format=Weather)).output_parsed.model_dump()


async def images():
    content = [{"type": "input_text", "text": PROMPT}, {"type": "input_image", "image_url": picture_url()}]
    return (await client.responses.create(model=MODEL, input=[{"role": "user", "content": content}])).output_text


run(simple, stream, tools, structured, images)
