"""LiteLLM's SDK."""

import json

import litellm
from cell import PROMPT, SCHEMA, STEP, TURNS, picture_url, run, step

TOOL = {"type": "function", "function": {"name": "step", "description": "A step.", "parameters": STEP}}


def asked(content=PROMPT):
    return [{"role": "user", "content": content}]


async def simple():
    return (await litellm.acompletion(**MODEL, messages=asked())).choices[0].message.content


async def stream():
    chunks = await litellm.acompletion(**MODEL, messages=asked(), stream=True)
    found = [chunk.choices[0].delta.content async for chunk in chunks if chunk.choices]
    return [piece for piece in found if piece]


async def tools():
    messages = asked()
    for _ in range(TURNS):
        message = (await litellm.acompletion(**MODEL, messages=messages, tools=[TOOL])).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        for call in message.tool_calls:
            result = step(**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return None


async def structured():
    form = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
    answer = await litellm.acompletion(**MODEL, messages=asked(), response_format=form)
    return json.loads(answer.choices[0].message.content)


async def images():
    content = [{"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": picture_url()}}]
    return (await litellm.acompletion(**MODEL, messages=asked(content))).choices[0].message.content


run(simple, stream, tools, structured, images)
