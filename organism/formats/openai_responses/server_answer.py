"""Answers of OpenAI's responses, written whole. What a model thought stands before what it said. Pure."""

from organism.amounts import TokenUsage
from organism.formats.call_ids import id_with_extra
from organism.formats.openai_responses.native_tools import CallNames
from organism.formats.server_format import Asked, Json, Meta
from organism.llm.answers import Completion
from organism.llm.requests import Reasoning, ToolCall

_INCOMPLETE = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
    "pause_turn": "max_output_tokens",
    "error": "max_output_tokens",  # of the two words there are, the one for what goes on
}

REDACTED = "rs_redacted_"
"""So begin ids of reasoning of which there is nothing but unreadable content, for which the format has no mark."""


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    thoughts = [thought for thought in answer.reasoning if thought.text or thought.signature]
    output = [
        thought_item(thought_name(meta, place, thought.id, redacted=thought.redacted), thought)
        for place, thought in enumerate(thoughts)
    ]
    output += [item.value for item in answer.vendor_items]
    if answer.text or not (answer.tool_calls or answer.vendor_items):
        output.append(message_item(f"msg_{meta.id}", answer.text))
    names = CallNames(asked.request.tools)
    output += [call_item(f"fc_{meta.id}_{place}", call, names) for place, call in enumerate(answer.tool_calls)]
    return finished(asked, meta, answer, output)


def response(asked: Asked, meta: Meta, status: str) -> Json:
    """Write a response that has no output yet."""
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
        "store": asked.keeps,
        "truncation": "disabled",
        "usage": None,
        **plain,
        **asked.echo,
    }


def finished(asked: Asked, meta: Meta, answer: Completion, output: list[Json]) -> Json:
    """Write a response that has ended, with its output."""
    reason = _INCOMPLETE.get(answer.finish_reason)
    return response(asked, meta, "completed" if reason is None else "incomplete") | {
        "incomplete_details": None if reason is None else {"reason": reason},
        "model": answer.model,
        "output": output,
        "usage": _usage(answer.usage),
    }


def message_item(name: str, text: str) -> Json:
    """Write what the model says as an item of that id."""
    return {
        "id": name,
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [output_text(text)],
    }


def output_text(text: str) -> Json:
    """Write the one part that a message has."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def thought_name(meta: Meta, place: int, own: str, *, redacted: bool) -> str:
    """Return the id of a thought: the provider's own, or one that says whether there is anything to read in it."""
    return own or f"{REDACTED if redacted else 'rs_'}{meta.id}_{place}"


def thought_item(name: str, thought: Reasoning) -> Json:
    """Write what the model thought as an item of that id."""
    summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
    sealed = {"encrypted_content": thought.signature} if thought.signature else {}
    return {"id": name, "type": "reasoning", "summary": summary, **sealed}


def call_item(name: str, call: ToolCall, names: CallNames) -> Json:
    """Write the call of a tool as an item of that id, in the words of the tool."""
    return {"id": name, "status": "completed", **names.write(call, id_with_extra(call))}


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
