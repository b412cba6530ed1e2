"""How the scripted HTTP provider writes an answer: chat completions, responses, messages or embeddings.

Usage is put in as text, just as the script has it: ``NaN`` and ``1e400`` must arrive as they were written.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from organism.amounts import TokenUsage
from organism.llm.embeddings import pack
from organism.llm.requests import ToolCall
from organism.providers.scripted import scripted_vector

_MODEL = "scripted"
Json = dict[str, Any]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says.

    Attributes:
        words: Its text in pieces.
        reasoning: What is thought first.
        calls: The tools it wants run.
        usage: What it has cost.
        usage_text: Usage as JSON text, sent as it is; ``""`` sends none; ``None`` sends the true one.
        first_only: Whether usage comes with the beginning of a stream and never again.
    """

    words: tuple[str, ...]
    reasoning: str
    calls: tuple[ToolCall, ...]
    usage: TokenUsage
    usage_text: str | None
    first_only: bool = False

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.words)

    def usage_or(self, true: Json) -> str:
        """Return the usage to send."""
        return json.dumps(true) if self.usage_text is None else self.usage_text


class ScriptedFormat(Protocol):
    """One format."""

    def whole(self, said: Said) -> str:
        """Write a whole answer as JSON."""
        ...

    def events(self, said: Said) -> Iterator[str]:
        """Write an answer as server-sent events."""
        ...


def format_of(path: str, body: Json) -> ScriptedFormat:
    """Return the format of a request's answer."""
    if path.endswith("/embeddings"):
        return Vectors(body)
    if path.endswith("/messages"):
        return Messages()
    return Responses() if path.endswith("/responses") else Chat()


def with_usage(whole: Json, usage: str) -> str:
    """Write a JSON object with usage in it, as text."""
    text = json.dumps(whole)
    return f'{text[:-1]}, "usage": {usage}}}' if usage else text


def inputs_of(body: Json) -> list[str | list[int]]:
    """Return what a request wants embedded: one text, several, or the same as tokens."""
    given = body.get("input", [])
    return [given] if isinstance(given, str) or (given and isinstance(given[0], int)) else given


class Vectors:
    """OpenAI's embeddings, which are never streamed."""

    def __init__(self, body: Json) -> None:
        self._body = body

    def whole(self, said: Said) -> str:
        """Write a whole answer as JSON."""
        data = [
            {"object": "embedding", "index": place, "embedding": self._vector(each)}
            for place, each in enumerate(inputs_of(self._body))
        ]
        true = {"prompt_tokens": said.usage.input_total, "total_tokens": said.usage.total}
        return with_usage({"object": "list", "model": _MODEL, "data": data}, said.usage_or(true))

    def events(self, said: Said) -> Iterator[str]:
        """Write an answer as server-sent events."""
        raise NotImplementedError

    def _vector(self, each: str | list[int]) -> str | list[float]:
        numbers = scripted_vector(each, self._body.get("dimensions"))
        return b64encode(pack(numbers)).decode() if self._body.get("encoding_format") == "base64" else numbers


class Chat:
    """OpenAI's chat completions."""

    def whole(self, said: Said) -> str:
        """Write a whole answer as JSON."""
        message: Json = {"role": "assistant", "content": said.text or None}
        if said.reasoning:
            message["reasoning_content"] = said.reasoning
        if said.calls:
            message["tool_calls"] = [self._call(call) for call in said.calls]
        choice = {"index": 0, "message": message, "finish_reason": self._reason(said)}
        whole = {"id": "c", "object": "chat.completion", "created": 0, "model": _MODEL, "choices": [choice]}
        return with_usage(whole, self._usage(said))

    def events(self, said: Said) -> Iterator[str]:
        """Write an answer as server-sent events; the arguments of calls come in two pieces."""
        first = self._usage(said) if said.first_only else ""
        if said.reasoning or first:
            yield self._chunk({"reasoning_content": said.reasoning}, usage=first)
        for word in said.words:
            yield self._chunk({"content": word})
        for place, call in enumerate(said.calls):
            half = len(call.arguments) // 2
            yield self._chunk({"tool_calls": [{"index": place, **self._call(call, call.arguments[:half])}]})
            rest = {"index": place, "function": {"arguments": call.arguments[half:]}}
            yield self._chunk({"tool_calls": [rest]})
        yield self._chunk({}, finish=self._reason(said))
        if not said.first_only:
            yield self._chunk(None, usage=self._usage(said))
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: Json | None, *, finish: str | None = None, usage: str = "") -> str:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        whole = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": _MODEL, "choices": choices}
        return f"data: {with_usage(whole, usage)}\n\n"

    def _call(self, call: ToolCall, arguments: str | None = None) -> Json:
        function = {"name": call.name, "arguments": call.arguments if arguments is None else arguments}
        return {"id": call.id, "type": "function", "function": function}

    def _reason(self, said: Said) -> str:
        return "tool_calls" if said.calls else "stop"

    def _usage(self, said: Said) -> str:
        usage = said.usage
        true: Json = {
            "prompt_tokens": usage.input_total,
            "completion_tokens": usage.output_total,
            "total_tokens": usage.total,
        }
        if usage.reasoning:
            true["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
        return said.usage_or(true)


class Responses:
    """OpenAI's responses."""

    def whole(self, said: Said) -> str:
        """Write a whole answer as JSON."""
        output: list[Json] = []
        if said.reasoning:
            summary = [{"type": "summary_text", "text": said.reasoning}]
            output.append({"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "sealed"})
        if said.words:
            content = [{"type": "output_text", "text": said.text, "annotations": []}]
            output.append({"type": "message", "id": "m", "role": "assistant", "content": content})
        output += [
            {"type": "function_call", "id": "f", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in said.calls
        ]
        whole = {"id": "r", "object": "response", "status": "completed", "model": _MODEL, "output": output}
        usage = said.usage
        true: Json = {
            "input_tokens": usage.input_total,
            "output_tokens": usage.output_total,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.total,
        }
        return with_usage(whole, said.usage_or(true))

    def events(self, said: Said) -> Iterator[str]:
        """Write an answer as server-sent events; the last one has all of it once more."""
        yield self._event("response.created", json.dumps({"response": {"id": "r", "status": "in_progress"}}))
        for word in said.words:
            yield self._event("response.output_text.delta", json.dumps({"output_index": 0, "delta": word}))
        yield self._event("response.completed", f'{{"response": {self.whole(said)}}}')

    def _event(self, kind: str, fields: str) -> str:
        return f'event: {kind}\ndata: {{"type": "{kind}", {fields[1:]}\n\n'


class Messages:
    """Anthropic's messages."""

    def whole(self, said: Said) -> str:
        """Write a whole answer as JSON."""
        whole = {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": _MODEL,
            "content": [block | rest for block, rest, _ in self._blocks(said)],
            "stop_reason": self._reason(said),
        }
        return with_usage(whole, self._usage(said))

    def events(self, said: Said) -> Iterator[str]:
        """Write an answer as server-sent events; usage comes at the beginning and, cumulative, at the end."""
        message = {"id": "m", "type": "message", "role": "assistant", "model": _MODEL, "content": []}
        first = json.dumps({"input_tokens": said.usage.input_total, "output_tokens": 1})
        if said.usage_text is not None:
            first = said.usage_text
        yield self._event("message_start", f'{{"message": {with_usage(message, first)}}}')
        for place, (block, _, deltas) in enumerate(self._blocks(said)):
            yield self._event("content_block_start", json.dumps({"index": place, "content_block": block}))
            for delta in deltas:
                yield self._event("content_block_delta", json.dumps({"index": place, "delta": delta}))
            yield self._event("content_block_stop", json.dumps({"index": place}))
        end = {"delta": {"stop_reason": self._reason(said)}}
        yield self._event("message_delta", with_usage(end, "" if said.first_only else self._usage(said)))
        yield self._event("message_stop", "{}")

    def _blocks(self, said: Said) -> Iterator[tuple[Json, Json, list[Json]]]:
        """Yield each block: how it begins, what a whole one has besides, and the pieces that bring the same."""
        if said.reasoning:
            thought = {"thinking": said.reasoning, "signature": "sealed"}
            pieces = [
                {"type": "thinking_delta", "thinking": said.reasoning},
                {"type": "signature_delta", "signature": "sealed"},
            ]
            yield {"type": "thinking", "thinking": "", "signature": ""}, thought, pieces
        if said.words:
            pieces = [{"type": "text_delta", "text": word} for word in said.words]
            yield {"type": "text", "text": ""}, {"text": said.text}, pieces
        for call in said.calls:
            half = len(call.arguments) // 2
            pieces = [
                {"type": "input_json_delta", "partial_json": half_text}
                for half_text in (call.arguments[:half], call.arguments[half:])
            ]
            begin = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield begin, {"input": json.loads(call.arguments)}, pieces

    def _event(self, kind: str, fields: str) -> str:
        comma = ", " if fields != "{}" else ""
        return f'event: {kind}\ndata: {{"type": "{kind}"{comma}{fields[1:]}\n\n'

    def _reason(self, said: Said) -> str:
        return "tool_use" if said.calls else "end_turn"

    def _usage(self, said: Said) -> str:
        usage = said.usage
        return said.usage_or({"input_tokens": usage.input_total, "output_tokens": usage.output_total})
