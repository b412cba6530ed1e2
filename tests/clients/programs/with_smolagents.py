"""smolagents, which answers by a tool of its own."""

from cell import PROMPT, SCHEMA, picture_url, run, step
from smolagents import ChatMessage, ToolCallingAgent, tool


def asked(content=PROMPT):
    return [
        ChatMessage(role="user", content=content if isinstance(content, list) else [{"type": "text", "text": content}])
    ]


def simple():
    return model.generate(asked()).content


def stream():
    return [piece.content for piece in model.generate_stream(asked()) if piece.content]


def images():
    part = {"type": "image_url", "image_url": {"url": picture_url()}}
    return model.generate(asked([{"type": "text", "text": PROMPT}, part])).content


def structured():
    schema = {"name": "weather", "strict": True, "schema": SCHEMA}
    return model.generate(asked(), response_format={"type": "json_schema", "json_schema": schema}).content


def tools():
    @tool
    def by_number(number: int) -> str:
        """Do the step of a number.

        Args:
            number: Which.
        """
        return step(number)

    by_number.name = "step"
    return ToolCallingAgent(tools=[by_number], model=model, max_steps=9).run(PROMPT)


run(simple, stream, tools, structured, images)
