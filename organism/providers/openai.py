"""OpenAI's chat completions, responses and embeddings: OpenAI itself and every server that speaks the same."""

import importlib.util
from typing import Literal

from organism.errors import ConfigError, MissingExtraError, UnsupportedError
from organism.formats.answers.decoder import AnswerDecoder, AnswerReader
from organism.formats.anthropic_messages import request as messages_request
from organism.formats.input_counts import said_input_tokens
from organism.formats.media.attachments import AttachmentBounds, extra_tokens
from organism.formats.openai_chat import request as chat_request
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_embeddings import client as embeddings
from organism.formats.openai_responses import request as responses_request
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendor_items import foreign_to
from organism.formats.vendors import COMPATIBLE, Vendor, vendor_of
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import server_tool_tokens
from organism.providers.addresses import AddressError, ServerAddress, address_of, is_own
from organism.providers.http import ConnectionSettings, HTTPServer
from organism.text.credentials import header_secret

API = Literal["chat", "responses"]


class OpenAIProvider:
    """A server that speaks chat completions or responses.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret; servers without one take any text.
        base_url: The server's address; the vendor's own unless given.
        vendor: The vendor of the server; unless given, OpenAI, or an unknown one with another ``base_url``.
        api: The format to speak.
        bounds: The user's bounds on images and files.
        connection: How the server is reached.

    Raises:
        MissingExtraError: If the HTTP client is not installed.
        ConfigError: If the vendor is unknown, an address is missing, or the address or the key is invalid.
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
        connection: ConnectionSettings | None = None,
    ) -> None:
        if importlib.util.find_spec("httpx2") is None:
            raise MissingExtraError(f"provider type {vendor or 'openai'!r}", "openai")
        self.name = name
        self.vendor = _vendor(vendor, base_url, api)
        address = _address(base_url, vendor, self.vendor, api)
        self._api_key = key = header_secret(f"the API key of provider {name!r}", api_key)
        # An Azure deployment takes a key only in its own header; as a bearer it takes a token of Entra.
        own_header = self.vendor.key_header == "api-key" or address.of_deployment
        bearer = not own_header or key.startswith(_TOKEN)
        headers = {"authorization": f"Bearer {key}"} if bearer else {"api-key": key}
        self._server = HTTPServer(name, address, headers, connection)
        self._stops = connection.stops_when_closed if connection is not None else None
        self._api = api
        self._bounds = bounds or AttachmentBounds()

    @property
    def stops_when_closed(self) -> bool:
        """Whether the server stops working, and billing, when a stream is closed."""
        return self.vendor.stops_when_closed if self._stops is None else self._stops

    def extra_tokens(self, request: Request) -> int:
        """Return the bound on images, files and added instructions; see :class:`organism.llm.provider.Provider`."""
        vendor = self.vendor
        if isinstance(request, CompletionRequest) and (what := self._untaken(request)) is not None:
            raise UnsupportedError(self.name, what)
        more = server_tool_tokens(request) if isinstance(request, CompletionRequest) else 0
        return more + extra_tokens(
            request, self.name, self._bounds, vendor.images, vendor.tool_tokens, embeds=vendor.embeds
        )

    def _untaken(self, request: CompletionRequest) -> str | None:
        if self._api == "responses":
            return responses_request.untaken(request)
        return chat_request.untaken(request, self.vendor)

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        stream = on_text is not None
        reader: AnswerReader
        if self._api == "responses":
            path, body = "/responses", responses_request.encode(request, stream=stream)
            reader = ResponsesReader(request, self.vendor, on_text)
        else:
            path, body = "/chat/completions", chat_request.encode(request, self.vendor, stream=stream)
            reader = ChatReader(request, self.vendor, on_text)
        async with self._server.posted(path, body) as response:
            return await response.answer(AnswerDecoder(self.name, reader, on_text))

    async def count_input(self, request: CompletionRequest) -> int | None:
        """Have the server count input, if it can: OpenAI's for both formats, and some servers of open models."""
        match "responses" if self._api == "responses" else self.vendor.counts:
            case "responses" if foreign_to(request, "responses") is None:
                path, counted = "/responses/input_tokens", responses_request.COUNTED
                body = responses_request.encode(request, stream=False)
            case "messages" if foreign_to(request, "messages", self.vendor.own_fields) is None:
                path, counted = "/messages/count_tokens", messages_request.COUNTED
                body = messages_request.encode(request, stream=False, holds_to_schemas=False)
            case _:
                return None
        asked = {name: value for name, value in body.items() if name in counted}
        async with self._server.posted(path, asked) as said:
            return said_input_tokens(await said.read())

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        async with self._server.posted("/embeddings", embeddings.encode(request, self.vendor)) as response:
            return embeddings.decode(await response.read(), self.vendor, self.name, request)

    async def warm_up(self) -> None:
        """Load what takes long; see :class:`organism.llm.provider.Provider`."""
        await self._server.warm_up()

    async def aclose(self) -> None:
        """Close connections."""
        await self._server.aclose()


_TOKEN = "eyJ"  # noqa: S105 - how a token of Entra begins: the JSON of its head, in base 64


def _vendor(name: str | None, base_url: str | None, api: API) -> Vendor:
    if name is not None:
        return vendor_of(name)
    own = vendor_of("openai")
    return own if base_url is None or is_own(base_url, api, own.base_url) else COMPATIBLE


def _address(base_url: str | None, name: str | None, vendor: Vendor, api: API) -> ServerAddress:
    written = base_url or vendor.base_url
    if written is None:
        raise ConfigError(f"every user of {name!r} has an address of their own; give it as 'base_url'")
    try:
        return address_of(written, api)
    except AddressError as error:
        raise ConfigError(f"base_url: {error}") from None
