"""How the stub upstream writes an answer: whole, and as the events of a stream with the vendor's names and order."""

import itertools
import json
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from tests.clients.upstream_mind import Answer, Call
from tests.clients.upstream_requests import Asked

Json = dict[str, Any]
PIECE = 7
_NUMBERS = itertools.count(1)


class Usage(msgspec.Struct, frozen=True):
    """What a call costs, in tokens; the buckets do not overlap."""

    input: int
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


class Event(msgspec.Struct, frozen=True):
    """An event of a stream, and how many characters of the answer it carries."""

    data: Json | str
    name: str = ""
    written: int = 0

    def encode(self) -> bytes:
        """Write it as server-sent events are written."""
        data = self.data if isinstance(self.data, str) else json.dumps(self.data)
        return (f"event: {self.name}\n" if self.name else "").encode() + f"data: {data}\n\n".encode()


class Writer(Protocol):
    """A vendor's format."""

    def whole(self, asked: Asked, said: Answer, usage: Usage) -> Json:
        """Write an answer in one piece."""
        ...

    def stream(self, asked: Asked, said: Answer, usage: Usage) -> Iterator[Event]:
        """Write it as events."""
        ...


def pieces(text: str) -> Iterator[str]:
    """Cut a text as a model writes it."""
    return (text[place : place + PIECE] for place in range(0, len(text), PIECE))


def new_id(prefix: str) -> str:
    """Return an id that was not given yet."""
    return f"{prefix}_{next(_NUMBERS):08d}"


def as_text(call: Call) -> str:
    """Return the arguments as they are written."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


class ChatWriter:
    """OpenAI's chat completions, with ``reasoning_content`` as servers of open models send it."""

    def whole(self, asked: Asked, said: Answer, usage: Usage) -> Json:
        """Write an answer in one piece."""
        message: Json = {"role": "assistant", "content": said.text or None, "refusal": None}
        if said.thoughts:
            message["reasoning_content"] = said.thoughts
        if said.calls:
            message["tool_calls"] = [self._call(call) for call in said.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._reason(said)}
        head = self._head(asked, "chat.completion")
        return {**head, "choices": [choice], "usage": self._usage(usage)}

    def stream(self, asked: Asked, said: Answer, usage: Usage) -> Iterator[Event]:
        """Write it as events."""
        head = self._head(asked, "chat.completion.chunk")

        def chunk(delta: Json, reason: str | None = None, written: int = 0) -> Event:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
            return Event({**head, "choices": [choice]}, written=written)

        yield chunk({"role": "assistant", "content": "", "refusal": None})
        for piece in pieces(said.thoughts):
            yield chunk({"reasoning_content": piece}, written=len(piece))
        for piece in pieces(said.text):
            yield chunk({"content": piece}, written=len(piece))
        for index, call in enumerate(said.calls):
            begin = self._call(call)
            begin["function"]["arguments"] = ""
            yield chunk({"tool_calls": [{"index": index, **begin}]})
            for piece in pieces(as_text(call)):
                yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, written=len(piece))
        yield chunk({}, self._reason(said))
        if asked.says_usage:
            yield Event({**head, "choices": [], "usage": self._usage(usage)})
        yield Event("[DONE]")

    def _head(self, asked: Asked, kind: str) -> Json:
        return {"id": new_id("chatcmpl"), "object": kind, "created": 1_800_000_000, "model": asked.model}

    def _call(self, call: Call) -> Json:
        function = {"name": call.name, "arguments": as_text(call)}
        return {"id": new_id("call"), "type": "function", "function": function}

    def _reason(self, said: Answer) -> str:
        return "tool_calls" if said.calls else "stop"

    def _usage(self, usage: Usage) -> Json:
        read, wrote = usage.input + usage.cached_input, usage.output + usage.reasoning
        return {
            "prompt_tokens": read,
            "completion_tokens": wrote,
            "total_tokens": read + wrote,
            "prompt_tokens_details": {"cached_tokens": usage.cached_input},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
        }


class ResponsesWriter:
    """OpenAI's responses."""

    def whole(self, asked: Asked, said: Answer, usage: Usage) -> Json:
        """Write an answer in one piece."""
        return {**self._head(asked), "status": "completed", "output": self._items(said), "usage": self._usage(usage)}

    def stream(self, asked: Asked, said: Answer, usage: Usage) -> Iterator[Event]:
        """Write it as events."""
        head, items, numbers = self._head(asked), self._items(said), itertools.count()

        def event(kind: str, written: int = 0, **fields: object) -> Event:
            return Event({"type": kind, "sequence_number": next(numbers), **fields}, kind, written)

        yield event("response.created", response={**head, "status": "in_progress"})
        yield event("response.in_progress", response={**head, "status": "in_progress"})
        for index, item in enumerate(items):
            place = {"item_id": item["id"], "output_index": index}
            yield event("response.output_item.added", output_index=index, item={**item, **self._empty(item)})
            if item["type"] == "reasoning":
                place["summary_index"] = 0
                part = {"type": "summary_text", "text": ""}
                yield event("response.reasoning_summary_part.added", **place, part=part)
                for piece in pieces(said.thoughts):
                    yield event("response.reasoning_summary_text.delta", len(piece), **place, delta=piece)
                yield event("response.reasoning_summary_text.done", **place, text=said.thoughts)
                yield event("response.reasoning_summary_part.done", **place, part={**part, "text": said.thoughts})
            elif item["type"] == "message":
                place["content_index"] = 0
                part = item["content"][0]
                yield event("response.content_part.added", **place, part={**part, "text": ""})
                for piece in pieces(said.text):
                    yield event("response.output_text.delta", len(piece), **place, delta=piece, logprobs=[])
                yield event("response.output_text.done", **place, text=said.text, logprobs=[])
                yield event("response.content_part.done", **place, part=part)
            else:
                field = "input" if item["type"] == "custom_tool_call" else "arguments"
                name = "custom_tool_call_input" if field == "input" else "function_call_arguments"
                for piece in pieces(item[field]):
                    yield event(f"response.{name}.delta", len(piece), **place, delta=piece)
                yield event(f"response.{name}.done", **place, **{field: item[field]})
            yield event("response.output_item.done", output_index=index, item=item)
        done = {**head, "status": "completed", "output": items, "usage": self._usage(usage)}
        yield event("response.completed", response=done)

    def _head(self, asked: Asked) -> Json:
        return {
            "id": new_id("resp"),
            "object": "response",
            "created_at": 1_800_000_000,
            "model": asked.model,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }

    def _items(self, said: Answer) -> list[Json]:
        items: list[Json] = []
        if said.thoughts:
            summary = [{"type": "summary_text", "text": said.thoughts}]
            items.append({"id": new_id("rs"), "type": "reasoning", "summary": summary, "encrypted_content": "c2VhbGVk"})
        if said.text:
            part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
            message = {"type": "message", "role": "assistant", "content": [part], "status": "completed"}
            items.append({"id": new_id("msg"), **message})
        for call in said.calls:
            common = {"call_id": new_id("call"), "name": call.name, "status": "completed"}
            if isinstance(call.arguments, str):
                items.append({"id": new_id("ctc"), "type": "custom_tool_call", "input": call.arguments, **common})
            else:
                items.append({"id": new_id("fc"), "type": "function_call", "arguments": as_text(call), **common})
        return items

    def _empty(self, item: Json) -> Json:
        """Return how an item begins."""
        return {
            "reasoning": {"summary": []},
            "message": {"content": [], "status": "in_progress"},
            "function_call": {"arguments": "", "status": "in_progress"},
            "custom_tool_call": {"input": "", "status": "in_progress"},
        }[item["type"]]

    def _usage(self, usage: Usage) -> Json:
        read, wrote = usage.input + usage.cached_input, usage.output + usage.reasoning
        return {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": usage.cached_input},
            "output_tokens": wrote,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": read + wrote,
        }


class MessagesWriter:
    """Anthropic's messages."""

    def whole(self, asked: Asked, said: Answer, usage: Usage) -> Json:
        """Write an answer in one piece."""
        return {**self._head(asked), "content": self._blocks(said), **self._end(said), "usage": self._usage(usage)}

    def stream(self, asked: Asked, said: Answer, usage: Usage) -> Iterator[Event]:
        """Write it as events."""

        def event(kind: str, written: int = 0, **fields: object) -> Event:
            return Event({"type": kind, **fields}, kind, written)

        first = {**self._usage(usage), "output_tokens": 1}
        yield event("message_start", message={**self._head(asked), "content": [], "usage": first})
        yield event("ping")
        for index, block in enumerate(self._blocks(said)):
            yield event("content_block_start", index=index, content_block={**block, **self._empty(block)})
            if block["type"] == "thinking":
                kind, field, text = "thinking_delta", "thinking", block["thinking"]
            elif block["type"] == "text":
                kind, field, text = "text_delta", "text", block["text"]
            else:
                kind, field, text = "input_json_delta", "partial_json", json.dumps(block["input"])
            for piece in pieces(text):
                delta = {"type": kind, field: piece}
                yield event("content_block_delta", len(piece), index=index, delta=delta)
            if block["type"] == "thinking":
                seal = {"type": "signature_delta", "signature": block["signature"]}
                yield event("content_block_delta", index=index, delta=seal)
            yield event("content_block_stop", index=index)
        yield event("message_delta", delta=self._end(said), usage=self._usage(usage))
        yield event("message_stop")

    def _head(self, asked: Asked) -> Json:
        return {
            "id": new_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _blocks(self, said: Answer) -> list[Json]:
        blocks: list[Json] = []
        if said.thoughts:
            blocks.append({"type": "thinking", "thinking": said.thoughts, "signature": "c2VhbGVk"})
        if said.text:
            blocks.append({"type": "text", "text": said.text})
        return blocks + [
            {"type": "tool_use", "id": new_id("toolu"), "name": call.name, "input": call.arguments}
            for call in said.calls
        ]

    def _empty(self, block: Json) -> Json:
        return {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}, "tool_use": {"input": {}}}[
            block["type"]
        ]

    def _end(self, said: Answer) -> Json:
        return {"stop_reason": "tool_use" if said.calls else "end_turn", "stop_sequence": None}

    def _usage(self, usage: Usage) -> Json:
        return {
            "input_tokens": usage.input,
            "cache_read_input_tokens": usage.cached_input,
            "cache_creation_input_tokens": usage.cache_write,
            "output_tokens": usage.output + usage.reasoning,
        }


WRITERS: dict[str, Writer] = {"chat": ChatWriter(), "responses": ResponsesWriter(), "messages": MessagesWriter()}
