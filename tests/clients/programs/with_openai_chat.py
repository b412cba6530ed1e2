"""OpenAI's SDK with chat completions: its helpers for streams and for parsed answers, and a loop of tools by hand."""

from cell import PROMPT, STEP, TURNS, picture_url, run, step
from pydantic import BaseModel

MODEL = "gpt-4o"
TOOL = {"type": "function", "function": {"name": "step", "description": "A step.", "parameters": STEP, "strict": True}}
TOOL["function"]["parameters"] = {**STEP, "additionalProperties": False}


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def asked(content=PROMPT):
    return [{"role": "user", "content": content}]


async def simple():
    answer = await client.chat.completions.create(model=MODEL, messages=asked())
    return answer.choices[0].message.content


async def stream():
    options = {"stream": True, "stream_options": {"include_usage": True}}
    found = []
    async for chunk in await client.chat.completions.create(model=MODEL, messages=asked(), **options):
        found += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    return found


async def tools():
    messages = asked()
    for _ in range(TURNS):
        async with client.chat.completions.stream(model=MODEL, messages=messages, tools=[TOOL]) as events:
            answer = await events.get_final_completion()
        message = answer.choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = step(**call.function.parsed_arguments)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return None


async def structured():
    first = await client.chat.completions.parse(model=MODEL, messages=asked(), response_format=Weather)
    messages = [*asked(), first.choices[0].message, *asked()]
    answer = await client.chat.completions.parse(model=MODEL, messages=messages, response_format=Weather)
    return answer.choices[0].message.parsed.model_dump()


async def images():
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": picture_url()}}]
    answer = await client.chat.completions.create(model=MODEL, messages=asked(content))
    return answer.choices[0].message.content


run(simple, stream, tools, structured, images)
