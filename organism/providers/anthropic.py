"""Anthropic's messages, through the official SDK: Anthropic itself and every server that speaks its format."""

import importlib.util
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from organism.errors import MissingExtraError, ProviderError, UncertainError
from organism.providers.http import bounded_client
from organism.providers.wire import (
    Answer,
    Json,
    UsageError,
    exclusive_usage,
    parse,
    part,
    rejected_or_uncertain,
    server_sent_data,
    text_of,
    unsent_or_uncertain,
)
from organism.router.provider import Completion, CompletionRequest, TextSink

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "refusal": "content_filter"}


class AnthropicProvider:
    """A server that speaks messages.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret.
        base_url: The server; Anthropic's own unless given.

    Raises:
        MissingExtraError: If the SDK is not installed.
    """

    def __init__(self, name: str, api_key: str, base_url: str | None = None) -> None:
        if importlib.util.find_spec("anthropic") is None:
            raise MissingExtraError("provider type 'anthropic'", "anthropic")
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._client: AsyncAnthropic | None = None

    async def complete(self, request: CompletionRequest, on_text: TextSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.router.provider.Provider`."""
        import anthropic

        body: dict[str, Any] = encode(request, stream=on_text is not None)
        create = self._connected().messages.with_streaming_response.create
        try:
            async with create(**body) as response:
                if on_text is None:
                    return decode(await response.read(), self.name, request.model)
                events = server_sent_data(response.iter_lines())
                return await decode_stream(events, self.name, request.model, on_text)
        except anthropic.APIStatusError as error:
            body_bytes = error.response.content
            status, headers = error.status_code, error.response.headers
            raise rejected_or_uncertain(self.name, status, body_bytes, headers, self._api_key) from None
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever broke the exchange, it may have been billed
            raise unsent_or_uncertain(self.name, error, self._api_key) from None

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> "AsyncAnthropic":
        """Return the client, made on first use: the import of the SDK costs a second."""
        if self._client is None:
            import anthropic

            self._client = anthropic.AsyncAnthropic(
                api_key=self._api_key, base_url=self._base_url, max_retries=0, http_client=bounded_client()
            )
        return self._client


def encode(request: CompletionRequest, *, stream: bool) -> dict[str, object]:
    """Write a request as arguments of the SDK: instructions stand apart from the conversation in this format."""
    system = "\n\n".join(turn.content for turn in request.messages if turn.role == "system")
    body: dict[str, object] = {
        "model": request.model,
        "messages": [
            {"role": turn.role, "content": turn.content} for turn in request.messages if turn.role != "system"
        ],
        "max_tokens": request.max_output_tokens,
    }
    if system:
        body["system"] = system
    if request.temperature is not None:
        # Newer SDKs have no such argument, since newer models take none; older models and other servers still do.
        body["extra_body"] = {"temperature": request.temperature}
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if stream:
        body["stream"] = True
    return body


def decode(raw: bytes, provider: str, asked: str) -> Completion:
    """Read a whole answer.

    Raises:
        UncertainError: If it is not an answer in this format.
    """
    body = parse(raw, provider)
    content = body.get("content")
    if not isinstance(content, list):
        raise UncertainError(provider, "an answer without content")
    answer = Answer(model=text_of(body.get("model")) or asked)
    answer.text += [text_of(part(block, "text")) for block in content]
    answer.finish_reason = text_of(body.get("stop_reason")) or "end_turn"
    usage = body.get("usage")
    answer.usage = usage if isinstance(usage, dict) else None
    return _finish(answer)


async def decode_stream(events: AsyncIterator[str], provider: str, asked: str, on_text: TextSink) -> Completion:
    """Read an answer in pieces, handing each to ``on_text``.

    Usage comes twice: with the first event and, cumulative, with the last delta. Per field the last one that is not
    null counts; adding them up would charge twice.

    Raises:
        UncertainError: If the stream breaks off before its end, or is not in this format.
    """
    answer = Answer(model=asked)
    async for data in events:
        event = parse(data, provider)
        match event.get("type"):
            case "message_start":
                answer.model = text_of(part(event, "message", "model")) or asked
                _merge_usage(answer, part(event, "message", "usage"))
            case "content_block_delta":
                if (piece := text_of(part(event, "delta", "text"))) != "":
                    answer.text.append(piece)
                    on_text(piece)
            case "message_delta":
                answer.finish_reason = text_of(part(event, "delta", "stop_reason")) or answer.finish_reason
                _merge_usage(answer, event.get("usage"))
            case "error":
                raise UncertainError(
                    provider, f"an error in the middle of the answer: {part(event, 'error', 'message')}"
                )
            case "message_stop":
                break
            case _:
                pass
    if answer.finish_reason is None:
        raise UncertainError(provider, "the answer broke off in the middle")
    return _finish(answer)


def _merge_usage(answer: Answer, usage: object) -> None:
    if isinstance(usage, dict):
        known: Json = answer.usage or {}
        answer.usage = known | {field: value for field, value in usage.items() if value is not None}


def _finish(answer: Answer) -> Completion:
    usage, fault = None, None
    if answer.usage is not None:
        try:
            usage = exclusive_usage(answer.usage)
        except UsageError as error:
            fault = str(error)
    reason = answer.finish_reason or "end_turn"
    return Completion(
        text="".join(answer.text),
        model=answer.model,
        finish_reason=_FINISH.get(reason, reason),
        usage=usage,
        usage_error=fault,
    )
