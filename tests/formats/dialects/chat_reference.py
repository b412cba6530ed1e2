"""Chat completions as OpenAI's reference has them: what oddities start from."""

import json
from collections.abc import Iterator
from typing import Any

from tests.formats.dialects.truth import ENDS, Call, Draft, Json, split


def chunk(delta: Any, finish: Any = None, **more: Any) -> Json:
    """Write a chunk of a stream; without a choice where there is no delta."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}


def call_of(call: Call, **more: Any) -> Json:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {**more, "id": call.id, "type": "function", "function": function}


def chunks(draft: Draft) -> Iterator[Json]:
    """Write an answer in pieces, but for its end."""
    truth, chance = draft.truth, draft.chance
    yield chunk({"role": "assistant", "content": chance.choice(("", None))})
    for piece in split(truth.thoughts, chance) if truth.thoughts else ():
        yield chunk({"reasoning_content": piece})
    for piece in split(truth.text, chance) if truth.text else ():
        yield chunk({"refusal" if truth.is_refusal else "content": piece})
    for index, call in enumerate(truth.calls):
        whole = call_of(call, index=index)
        first, *rest = split(whole["function"]["arguments"], chance)
        if chance.random() < 0.5:
            rest = [first, *rest]
            first = ""
        whole["function"]["arguments"] = first
        yield chunk({"tool_calls": [whole]})
        for piece in rest:
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})


def whole(draft: Draft) -> Json:
    """Write an answer at once."""
    truth = draft.truth
    message: Json = {"role": "assistant", "content": truth.text or None}
    if truth.is_refusal:
        message |= {"content": None, "refusal": truth.text}
    if truth.thoughts:
        message["reasoning_content"] = truth.thoughts
    if truth.calls:
        message["tool_calls"] = [call_of(call) for call in truth.calls]
    choice = {"index": 0, "message": message, "finish_reason": draft.chance.choice(ENDS[truth.ended])}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
