"""Anthropic's messages: Anthropic itself and every server that speaks its format."""

import importlib.util

from organism.errors import ConfigError, MissingExtraError, UnsupportedError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.anthropic_messages.request import COUNTED, IMAGES, TOOL_TOKENS, betas_of, encode, untaken
from organism.formats.input_counts import said_input_tokens
from organism.formats.media.attachments import AttachmentBounds, extra_tokens
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Request
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import server_tool_tokens
from organism.providers.addresses import AddressError, address_of, is_own
from organism.providers.http import ConnectionSettings, HTTPServer
from organism.text.credentials import header_secret

BASE_URL = "https://api.anthropic.com"

_VERSION = "2023-06-01"
_BETA = "anthropic-beta"


class AnthropicProvider:
    """A server that speaks messages.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret.
        base_url: The server's address; Anthropic's unless given.
        bounds: The user's bounds on images and files.
        connection: How the server is reached.
        structured_outputs: Whether the server enforces JSON Schemas of answers and calls; unless given, true for
            Anthropic's own server and false for others, which are asked in words.

    Raises:
        MissingExtraError: If the HTTP client is not installed.
        ConfigError: If the address or the key is invalid.
    """

    def __init__(
        self,
        name: str,
        api_key: str,
        base_url: str | None = None,
        *,
        bounds: AttachmentBounds | None = None,
        connection: ConnectionSettings | None = None,
        structured_outputs: bool | None = None,
    ) -> None:
        if importlib.util.find_spec("httpx2") is None:
            raise MissingExtraError("provider type 'anthropic'", "anthropic")
        self.name = name
        try:
            address = address_of(base_url or BASE_URL, "messages")
        except AddressError as error:
            raise ConfigError(f"base_url: {error}") from None
        self._own = self._holds_to_schemas = base_url is None or is_own(base_url, "messages", BASE_URL)
        if structured_outputs is not None:
            self._holds_to_schemas = structured_outputs
        self._api_key = key = header_secret(f"the API key of provider {name!r}", api_key)
        headers = {"x-api-key": key, "anthropic-version": _VERSION}
        self._server = HTTPServer(name, address, headers, connection)
        self._stops = connection.stops_when_closed if connection is not None else None
        self._bounds = bounds or AttachmentBounds()

    @property
    def stops_when_closed(self) -> bool:
        """Whether a closed stream is billed no further; true for all known servers of the format, unless configured."""
        return self._stops is not False

    def extra_tokens(self, request: Request) -> int:
        """Return the bound on images, files and added instructions; see :class:`organism.llm.provider.Provider`."""
        if isinstance(request, CompletionRequest) and (what := untaken(request)) is not None:
            raise UnsupportedError(self.name, what)
        published = IMAGES if self._own else ()
        more = server_tool_tokens(request) if isinstance(request, CompletionRequest) else 0
        return more + extra_tokens(request, self.name, self._bounds, published, TOOL_TOKENS, embeds=False)

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.llm.provider.Provider`."""
        body = encode(request, stream=on_text is not None, holds_to_schemas=self._holds_to_schemas)
        decoder = AnswerDecoder(self.name, MessagesReader(request, on_text), on_text)
        async with self._server.posted("/v1/messages", body, _headers(request)) as response:
            return await response.answer(decoder)

    async def count_input(self, request: CompletionRequest) -> int | None:
        """Have the server count; see :class:`organism.llm.provider.Provider`."""
        if untaken(request) is not None:
            return None
        body = encode(request, stream=False, holds_to_schemas=self._holds_to_schemas)
        asked = {name: value for name, value in body.items() if name in COUNTED}
        async with self._server.posted("/v1/messages/count_tokens", asked, _headers(request)) as said:
            return said_input_tokens(await said.read())

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """Refuse: the format has no embeddings.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError(self.name, request.operation)

    async def warm_up(self) -> None:
        """Load what takes long; see :class:`organism.llm.provider.Provider`."""
        await self._server.warm_up()

    async def aclose(self) -> None:
        """Close connections."""
        await self._server.aclose()


def _headers(request: CompletionRequest) -> dict[str, str]:
    """Return the headers of one request: the beta features that it switches on, if any."""
    betas = ",".join(betas_of(request))
    return {_BETA: betas} if betas else {}
