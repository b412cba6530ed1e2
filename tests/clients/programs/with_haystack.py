"""Haystack."""

import json

from cell import PROMPT, SCHEMA, picture, run, step
from haystack.components.agents import Agent
from haystack.dataclasses import ChatMessage, ImageContent
from haystack.tools import create_tool_from_function


def simple():
    return generator.run([ChatMessage.from_user(PROMPT)])["replies"][0].text


def stream():
    pieces = []
    generator.run([ChatMessage.from_user(PROMPT)], streaming_callback=lambda piece: pieces.append(piece.content))
    return [piece for piece in pieces if piece]


def tools():
    agent = Agent(chat_generator=generator, tools=[create_tool_from_function(step)])
    return agent.run([ChatMessage.from_user(PROMPT)])["messages"][-1].text


def structured():
    form = {"type": "json_schema", "json_schema": {"name": "weather", "strict": True, "schema": SCHEMA}}
    found = generator.run([ChatMessage.from_user(PROMPT)], generation_kwargs={"response_format": form})
    return json.loads(found["replies"][0].text)


def images():
    parts = [PROMPT, ImageContent(base64_image=picture(), mime_type="image/png")]
    return generator.run([ChatMessage.from_user(content_parts=parts)])["replies"][0].text


run(simple, stream, tools, structured, images)
