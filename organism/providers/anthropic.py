"""Anthropic's messages, through the official SDK: Anthropic itself and every server that speaks its format."""

import importlib.util
from contextlib import aclosing
from typing import TYPE_CHECKING

from organism.credentials import header_secret
from organism.errors import MissingExtraError, ProviderError, UnsupportedError
from organism.formats.anthropic_messages.answer import decode, decode_stream
from organism.formats.anthropic_messages.request import IMAGES, TOOL_TOKENS, encode
from organism.formats.attachments import AttachmentBounds, extra_tokens
from organism.formats.event_stream import server_sent_data
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.providers.http import CONNECT_TIMEOUT_S, bounded_client, patient
from organism.providers.wire import rejected_or_uncertain, unsent_or_uncertain

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic


class AnthropicProvider:
    """A server that speaks messages.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret.
        base_url: The server; Anthropic's own unless given.
        bounds: What the user vouches for of images and files.
        connect_timeout_s: Seconds until the connection must stand.

    Raises:
        MissingExtraError: If the SDK is not installed.
        ConfigError: If the secret can't be sent in a header.
    """

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str | None = None,
        *,
        bounds: AttachmentBounds | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        if importlib.util.find_spec("anthropic") is None:
            raise MissingExtraError("provider type 'anthropic'", "anthropic")
        self.name = name
        self._api_key = header_secret(f"the API key of provider {name!r}", api_key)
        self._base_url = base_url
        self._bounds = bounds or AttachmentBounds()
        self._connect_timeout_s = connect_timeout_s
        self._client: AsyncAnthropic | None = None

    def extra_tokens(self, request: Request) -> int:
        """Bound images, files and added instructions; see :class:`organism.llm.provider.Provider`."""
        published = IMAGES if self._base_url is None else ()
        return extra_tokens(request, self.name, self._bounds, published, TOOL_TOKENS, embeds=False)

    async def complete(self, request: CompletionRequest, on_text: DeltaSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        import anthropic
        import httpx2

        own = self._base_url is None
        body = encode(request, stream=on_text is not None, holds_to_schemas=own)
        try:
            # The body goes out as it is: the SDK's own `create` knows only what the newest models take, and walks the
            # body by its types, which takes longer than all that organism does for a call.
            response = await self._connected().post(
                "/v1/messages", cast_to=httpx2.Response, body=body, stream=on_text is not None
            )
            if on_text is None:
                return decode(response.content, self.name, request.model)
            async with aclosing(response):
                events = server_sent_data(response.aiter_lines())
                return await decode_stream(events, self.name, request.model, on_text)
        except anthropic.APIStatusError as error:
            body_bytes = error.response.content
            status, headers = error.status_code, error.response.headers
            raise rejected_or_uncertain(self.name, status, body_bytes, headers) from None
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever broke the exchange, it may have been billed
            raise unsent_or_uncertain(self.name, error) from None

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Refuse: the format has no embeddings.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(self.name, request.operation)

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
                api_key=self._api_key,
                base_url=self._base_url,
                max_retries=0,
                timeout=patient(self._connect_timeout_s),
                http_client=bounded_client(self._connect_timeout_s),
            )
        return self._client
