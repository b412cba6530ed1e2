"""Answers of OpenAI's responses: the whole object, and the events that build it up. Pure.

What a model thought stands before what it said. In a stream that is known only at the end, so a place is kept for it
where thinking was asked for, as OpenAI's own streams do.
"""

from collections.abc import Iterator

from organism.amounts import TokenUsage
from organism.formats.faults import Fault
from organism.formats.openai_errors import error_body
from organism.formats.server_format import Asked, Json, Meta, event
from organism.llm.answers import Completion
from organism.llm.requests import Reasoning, ToolCall

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    output = [*_thoughts(meta, answer)]
    if answer.text or not answer.tool_calls:
        output.append(_message(meta, answer.text))
    output += _calls(meta, answer)
    return _finished(asked, meta, answer, output)


class ResponsesWriter:
    """Writes an answer as events, each with its number."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._asked = asked
        self._meta = meta
        self._number = 0
        self._output: list[Json] = []
        self._speaks = False
        self._thinks = asked.request.reasoning_effort not in (None, "none")

    def begin(self) -> bytes:
        """Begin the response, and its reasoning if there is to be any."""
        whole = _response(self._asked, self._meta, "in_progress")
        data = self._event("response.created", response=whole) + self._event("response.in_progress", response=whole)
        if self._thinks:
            self._output.append(_thought(self._meta, 0, Reasoning("")))
            data += self._event("response.output_item.added", output_index=0, item=self._output[0])
        return data

    def text(self, piece: str) -> bytes:
        """Write a piece of the text, before the first one the beginning of its message."""
        data = b"" if self._speaks else self._begin_message()
        return data + self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def end(self, answer: Completion) -> bytes:
        """Write the end of each item, and the whole response once more."""
        data = self._end_thoughts(answer)
        if not self._speaks and not answer.tool_calls:
            data += self._begin_message()
        if self._speaks:
            data += self._end_message(answer.text)
        for item in _calls(self._meta, answer):
            data += self._call(item)
        whole = _finished(self._asked, self._meta, answer, self._output)
        return data + self._event(f"response.{whole['status']}", response=whole)

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more: in the fields of the event, and where the official client looks."""
        error = error_body(fault)["error"]
        flat = {"code": fault.code, "message": fault.message, "param": fault.param}
        return self._event("error", **flat, error=error)

    def _end_thoughts(self, answer: Completion) -> bytes:
        """Fill the place that was kept; what was thought unasked comes after what is there already."""
        data = b""
        thoughts = list(_thoughts(self._meta, answer))
        if self._thinks:
            self._output[0] = thoughts.pop(0) if thoughts else self._output[0]
            data += self._event("response.output_item.done", output_index=0, item=self._output[0])
        for item in thoughts:
            data += self._whole_item(item)
        return data

    def _begin_message(self) -> bytes:
        self._speaks = True
        index = len(self._output)
        self._output.append(_message(self._meta, "") | {"status": "in_progress", "content": []})
        added = self._event("response.output_item.added", output_index=index, item=self._output[index])
        return added + self._event("response.content_part.added", **self._place(), part=_output_text(""))

    def _end_message(self, text: str) -> bytes:
        place = self._place()
        index = place["output_index"]
        self._output[index] = _message(self._meta, text)
        return (
            self._event("response.output_text.done", **place, text=text, logprobs=[])
            + self._event("response.content_part.done", **place, part=_output_text(text))
            + self._event("response.output_item.done", output_index=index, item=self._output[index])
        )

    def _call(self, item: Json) -> bytes:
        place = {"item_id": item["id"], "output_index": len(self._output)}
        begun = item | {"status": "in_progress", "arguments": ""}
        self._output.append(item)
        return (
            self._event("response.output_item.added", output_index=place["output_index"], item=begun)
            + self._event("response.function_call_arguments.delta", **place, delta=item["arguments"])
            + self._event("response.function_call_arguments.done", **place, arguments=item["arguments"])
            + self._event("response.output_item.done", output_index=place["output_index"], item=item)
        )

    def _whole_item(self, item: Json) -> bytes:
        index = len(self._output)
        self._output.append(item)
        added = self._event("response.output_item.added", output_index=index, item=item)
        return added + self._event("response.output_item.done", output_index=index, item=item)

    def _place(self) -> Json:
        """Say where the text of the message stands."""
        index = next(place for place, item in enumerate(self._output) if item["type"] == "message")
        return {"item_id": self._output[index]["id"], "output_index": index, "content_index": 0}

    def _event(self, name: str, **fields: object) -> bytes:
        number, self._number = self._number, self._number + 1
        return event({"type": name, "sequence_number": number, **fields}, name)


def _response(asked: Asked, meta: Meta, status: str) -> Json:
    plain: Json = {
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "user": None,
    }
    return {
        "id": f"resp_{meta.id}",
        "object": "response",
        "created_at": meta.created_s,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": asked.request.model,
        "output": [],
        "previous_response_id": None,
        "store": False,
        "truncation": "disabled",
        "usage": None,
        **plain,
        **asked.echo,
    }


def _finished(asked: Asked, meta: Meta, answer: Completion, output: list[Json]) -> Json:
    reason = _INCOMPLETE.get(answer.finish_reason)
    return _response(asked, meta, "completed" if reason is None else "incomplete") | {
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": answer.model,
        "output": output,
        "usage": _usage(answer.usage),
    }


def _message(meta: Meta, text: str) -> Json:
    return {
        "id": f"msg_{meta.id}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [_output_text(text)],
    }


def _output_text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _thoughts(meta: Meta, answer: Completion) -> Iterator[Json]:
    for place, thought in enumerate(answer.reasoning):
        yield _thought(meta, place, thought)


def _thought(meta: Meta, place: int, thought: Reasoning) -> Json:
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    sealed = {"encrypted_content": thought.signature} if thought.signature else {}
    return {"id": thought.id or f"rs_{meta.id}_{place}", "type": "reasoning", "summary": summary, **sealed}


def _calls(meta: Meta, answer: Completion) -> Iterator[Json]:
    for place, call in enumerate(answer.tool_calls):
        yield _call(meta, place, call)


def _call(meta: Meta, place: int, call: ToolCall) -> Json:
    return {
        "id": f"fc_{meta.id}_{place}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
    }


def _usage(usage: TokenUsage | None) -> Json | None:
    """Write usage; ``None`` where the provider gave none, which is not zero."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {"cached_tokens": usage.cached_input},
        "output_tokens": usage.output_total,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }
