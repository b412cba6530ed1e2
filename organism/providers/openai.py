"""OpenAI's chat completions, responses and embeddings, through the official SDK: OpenAI and all who speak the same."""

import importlib.util
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Literal

from organism.credentials import header_secret
from organism.errors import ConfigError, MissingExtraError, ProviderError
from organism.formats.attachments import AttachmentBounds, extra_tokens
from organism.formats.event_stream import server_sent_data
from organism.formats.json_reading import Json
from organism.formats.openai_chat import answer as chat_answer
from organism.formats.openai_chat import request as chat_request
from organism.formats.openai_embeddings import client as embeddings
from organism.formats.openai_responses import answer as responses_answer
from organism.formats.openai_responses import request as responses_request
from organism.formats.vendors import COMPATIBLE, Vendor, vendor_of
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.providers.http import CONNECT_TIMEOUT_S, bounded_client, patient
from organism.providers.wire import rejected_or_uncertain, unsent_or_uncertain

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

API = Literal["chat", "responses"]


class OpenAIProvider:
    """A server that speaks chat completions or responses.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret; servers without one take any text.
        base_url: The server; the vendor's own unless given.
        vendor: Whose server it is; OpenAI's, or with a ``base_url`` that of nobody in particular, unless given.
        api: Which of the two formats to speak.
        bounds: What the user vouches for of images and files.
        connect_timeout_s: Seconds until the connection must stand.

    Raises:
        MissingExtraError: If the SDK is not installed.
        ConfigError: If the vendor is unknown, has no address of its own and none is given, or the secret can't be
            sent in a header.
    """

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str | None = None,
        *,
        vendor: str | None = None,
        api: API = "chat",
        bounds: AttachmentBounds | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtraError(f"provider type {vendor or 'openai'!r}", "openai")
        self.name = name
        self.vendor = _vendor(vendor, base_url)
        self._api_key = header_secret(f"the API key of provider {name!r}", api_key)
        self._base_url = base_url or self.vendor.base_url
        if self._base_url is None:
            raise ConfigError(f"every user of {vendor!r} has an address of their own; give it as 'base_url'")
        self._api = api
        self._bounds = bounds or AttachmentBounds()
        self._connect_timeout_s = connect_timeout_s
        self._client: AsyncOpenAI | None = None

    def extra_tokens(self, request: Request) -> int:
        """Bound images, files and added instructions; see :class:`organism.llm.provider.Provider`."""
        vendor = self.vendor
        return extra_tokens(request, self.name, self._bounds, vendor.images, vendor.tool_tokens, embeds=vendor.embeds)

    async def complete(self, request: CompletionRequest, on_text: DeltaSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        with self._classified():
            if self._api == "responses":
                return await self._respond(request, on_text)
            return await self._chat(request, on_text)

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        with self._classified():
            response = await self._post("/embeddings", embeddings.encode(request, self.vendor))
            return embeddings.decode(response.content, self.vendor, self.name, request)

    @contextmanager
    def _classified(self) -> Iterator[None]:
        """Turn whatever breaks an exchange into what it means for money."""
        import openai

        try:
            yield
        except openai.APIStatusError as error:
            body = error.response.content
            status, headers = error.status_code, error.response.headers
            raise rejected_or_uncertain(self.name, status, body, headers) from None
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever broke the exchange, it may have been billed
            raise unsent_or_uncertain(self.name, error) from None

    async def _chat(self, request: CompletionRequest, on_text: DeltaSink | None) -> Completion:
        body = chat_request.encode(request, self.vendor, stream=on_text is not None)
        response = await self._post("/chat/completions", body, stream=on_text is not None)
        if on_text is None:
            return chat_answer.decode(response.content, self.vendor, self.name, request.model)
        async with aclosing(response):
            events = server_sent_data(response.aiter_lines())
            return await chat_answer.decode_stream(events, self.vendor, self.name, request.model, on_text)

    async def _respond(self, request: CompletionRequest, on_text: DeltaSink | None) -> Completion:
        body = responses_request.encode(request, stream=on_text is not None)
        response = await self._post("/responses", body, stream=on_text is not None)
        if on_text is None:
            return responses_answer.decode(response.content, self.vendor, self.name, request.model)
        async with aclosing(response):
            events = server_sent_data(response.aiter_lines())
            return await responses_answer.decode_stream(events, self.vendor, self.name, request.model, on_text)

    async def _post(self, path: str, body: Json, *, stream: bool = False) -> "httpx2.Response":
        """Send a body as it is; the answer has been read whole, or is a stream that must be closed.

        The SDK's ``create`` knows only what OpenAI itself takes, and walks the body by its types, which takes longer
        than all that organism does for a call (200 of 1,700 µs).
        """
        import httpx2

        return await self._connected().post(
            path, cast_to=httpx2.Response, body=body, stream=stream, options={"security": {"bearer_auth": True}}
        )

    async def aclose(self) -> None:
        """Close connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> "AsyncOpenAI":
        """Return the client, made on first use: the import of the SDK costs a second."""
        if self._client is None:
            import openai

            self._client = openai.AsyncOpenAI(
                api_key=self._api_key,
                base_url=self._base_url,
                max_retries=0,
                timeout=patient(self._connect_timeout_s),
                http_client=bounded_client(self._connect_timeout_s),
            )
        return self._client


def _vendor(name: str | None, base_url: str | None) -> Vendor:
    if name is None:
        own = vendor_of("openai")
        return own if base_url is None or base_url == own.base_url else COMPATIBLE
    return vendor_of(name)
