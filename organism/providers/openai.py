"""OpenAI's chat completions, through the official SDK: OpenAI itself and every server that speaks its format."""

import importlib.util
from typing import TYPE_CHECKING, Any

from organism.errors import MissingExtraError, ProviderError
from organism.providers.chat import decode, decode_stream, encode
from organism.providers.http import bounded_client
from organism.providers.wire import rejected_or_uncertain, server_sent_data, unsent_or_uncertain
from organism.router.provider import Completion, CompletionRequest, TextSink

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_OPENAI_HOST = "api.openai.com"


class OpenAIProvider:
    """A server that speaks chat completions.

    Args:
        name: The provider's name in the configuration.
        api_key: The secret; servers without one take any text.
        base_url: The server; OpenAI's own unless given.

    Raises:
        MissingExtraError: If the SDK is not installed.
    """

    def __init__(self, name: str, api_key: str, base_url: str | None = None) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtraError("provider type 'openai'", "openai")
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._client: AsyncOpenAI | None = None

    async def complete(self, request: CompletionRequest, on_text: TextSink | None = None) -> Completion:
        """Make one attempt; see :class:`organism.router.provider.Provider`."""
        import openai

        body: dict[str, Any] = encode(request, cap_field=self._cap_field(), stream=on_text is not None)
        create = self._connected().chat.completions.with_streaming_response.create
        try:
            async with create(**body) as response:
                if on_text is None:
                    return decode(await response.read(), self.name, request.model)
                events = server_sent_data(response.iter_lines())
                return await decode_stream(events, self.name, request.model, on_text)
        except openai.APIStatusError as error:
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

    def _connected(self) -> "AsyncOpenAI":
        """Return the client, made on first use: the import of the SDK costs a second."""
        if self._client is None:
            import openai

            self._client = openai.AsyncOpenAI(
                api_key=self._api_key, base_url=self._base_url, max_retries=0, http_client=bounded_client()
            )
        return self._client

    def _cap_field(self) -> str:
        own = self._base_url is None or _OPENAI_HOST in self._base_url
        return "max_completion_tokens" if own else "max_tokens"
