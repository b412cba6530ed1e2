"""OpenAI's completions of plain text, the server side: requests in, answers and streams out. Pure.

The prompt becomes the one turn of a conversation, which is what today's providers take. What a conversation cannot
express (``suffix``, tokens in place of text, ``best_of``) is refused by name.

Source: the reference of ``POST /v1/completions``.
"""

from typing import Annotated, Any, Literal

import msgspec

from organism.amounts import TokenUsage
from organism.formats.errors.faults import Fault, bad_request
from organism.formats.errors.openai_errors import error_body
from organism.formats.openai_chat.server_body import StreamOptions
from organism.formats.openai_completions.fields import REFUSED
from organism.formats.own_fields import split_off
from organism.formats.server_format import COMMENT, Asked, Json, Meta, OutputCap, convert, event
from organism.llm.answers import Completion
from organism.llm.deltas import Delta
from organism.llm.requests import ChatMessage, CompletionRequest, VendorItem

_DONE = b"data: [DONE]\n\n"
_REASONS = frozenset({"stop", "length", "content_filter"})


class CompletionsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole request; what admits one value only is accepted as long as it asks for nothing else."""

    model: str
    prompt: Any
    max_tokens: OutputCap | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] = 1
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] = {}
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    # Only as far as they ask for what happens anyway.
    best_of: Literal[1] = 1
    echo: Literal[False] = False
    logprobs: Literal[0] = 0
    suffix: Literal[""] = ""
    # A label, which changes neither the answer nor its price.
    user: str | None = None


def read_request(raw: Json, default_cap: int) -> Asked:
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    raw, own = split_off(raw)
    asked = convert(raw, CompletionsBody, refused=REFUSED)
    stop = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    request = CompletionRequest(
        model=asked.model,
        messages=(ChatMessage("user", _prompt(asked.prompt)),),
        max_output_tokens=asked.max_tokens or default_cap,
        temperature=asked.temperature,
        top_p=asked.top_p,
        top_k=asked.top_k,
        stop=tuple(stop),
        seed=asked.seed,
        presence_penalty=asked.presence_penalty or None,
        frequency_penalty=asked.frequency_penalty or None,
        logit_bias=asked.logit_bias,
        choices=asked.n,
        vendor_fields=VendorItem(own, "chat") if own else None,
    )
    return Asked(request=request, stream=asked.stream, usage=asked.stream_options.include_usage)


def answered(asked: Asked, meta: Meta, answer: Completion) -> Json:
    """Write a whole answer."""
    del asked
    choices = [_choice(place, each.text, _reason(each)) for place, each in enumerate((answer, *answer.alternatives))]
    return _head(meta, answer.model) | {"choices": choices, "usage": _usage(answer.usage)}


class CompletionsWriter:
    """Writes an answer as chunks of text; the format has nothing else."""

    def __init__(self, asked: Asked, meta: Meta) -> None:
        self._usage = asked.usage
        self._head = _head(meta, asked.request.model)

    def begin(self) -> bytes:
        """Write a comment: the first piece needs no head."""
        return COMMENT

    def delta(self, delta: Delta) -> bytes:
        """Write a piece of text."""
        return self._piece(0, str(delta)) if isinstance(delta, str) else b""

    def alive(self) -> bytes:
        """Write a comment."""
        return COMMENT

    def end(self, answer: Completion) -> bytes:
        """Write why it ended, the other answers, and usage."""
        data = self._piece(0, "", _reason(answer))
        for place, each in enumerate(answer.alternatives, 1):
            data += self._piece(place, each.text) + self._piece(place, "", _reason(each))
        if self._usage:
            data += event(self._head | {"choices": [], "usage": _usage(answer.usage)})
        return data + _DONE

    def fail(self, fault: Fault) -> bytes:
        """Write that there will be no more."""
        return event(error_body(fault))

    def _piece(self, place: int, text: str, reason: str | None = None) -> bytes:
        last = {"usage": None} if self._usage else {}
        return event(self._head | {"choices": [_choice(place, text, reason)]} | last)


def _prompt(prompt: object) -> str:
    """Return the one text to complete.

    Raises:
        FaultError: If there are several texts, none, or tokens.
    """
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise bad_request("prompt: give one text; several are several calls, and tokens are not read here", "prompt")
    return prompt


def _head(meta: Meta, model: str) -> Json:
    return {"id": f"cmpl-{meta.id}", "object": "text_completion", "created": meta.created_s, "model": model}


def _choice(place: int, text: str, reason: str | None) -> Json:
    return {"text": text, "index": place, "logprobs": None, "finish_reason": reason}


def _reason(answer: Completion) -> str:
    return answer.finish_reason if answer.finish_reason in _REASONS else "length"


def _usage(usage: TokenUsage | None) -> Json | None:
    """Write usage; ``None`` where the provider gave none, which is not zero."""
    if usage is None:
        return None
    return {"prompt_tokens": usage.input_total, "completion_tokens": usage.output_total, "total_tokens": usage.total}
