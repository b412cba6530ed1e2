"""Model calls of one message, as a handler makes them."""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar, overload

from organism.agents import arguments
from organism.agents.answer_stream import AnswerStream
from organism.agents.runtime import Runtime
from organism.agents.structured import ParsedCompletion, complete_as
from organism.errors import ConfigError
from organism.llm.answers import Completion
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import TextSink
from organism.llm.requests import DEFAULT_OUTPUT_TOKENS, ChatMessage, CompletionRequest
from organism.llm.server_tools import VendorTools
from organism.router.call import LastWord
from organism.text.error_text import shown

T = TypeVar("T")

OUTPUT_TOKENS_MAX = 2**31 - 1
"""No model answers with more; a thousand such caps added up are still far from 64 bits."""

PROMPT_BYTES_MAX = 100_000_000
"""More than any model reads."""


class LLM:
    """Model calls of one message."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @overload
    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: type[T],
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        vendor_tools: VendorTools = (),
        on_text: TextSink | None = None,
    ) -> ParsedCompletion[T]: ...

    @overload
    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: None = None,
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        vendor_tools: VendorTools = (),
        on_text: TextSink | None = None,
    ) -> Completion: ...

    async def complete(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        response_type: type[T] | None = None,
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        vendor_tools: VendorTools = (),
        on_text: TextSink | None = None,
    ) -> Completion | ParsedCompletion[T]:
        """Ask a model; the call is held on the thread's budget before it leaves and settled after.

        In mode ``enforce`` an exhausted budget parks the message: this call does not return, and the handler runs
        again from its start when the limit is raised, getting the answers it has already paid for without paying
        again. With ``on_exhausted: fail`` it raises instead.

        Args:
            prompt: The user's text, or a whole conversation.
            response_type: A :class:`msgspec.Struct` that the answer must be; it comes back as ``parsed``. An answer
                that does not fit costs one more call, in which the model reads why.
            system: Instructions put before it.
            model: A model of the configuration; defaults to the agent's own, or to the only one there is.
            max_output_tokens: Cap of the answer; shrunk to what the budget leaves.
            temperature: Sampling temperature.
            vendor_tools: Tools that the model's vendor runs, and how often each may be used for this answer, such as
                ``{"web_search": 3}``; their fees are held and charged with the call.
            on_text: Called with each piece of the answer as it arrives.

        Raises:
            ConfigError: An argument is wrong.
            BudgetExhaustedError: A limit refused the call, and the organism is set to fail then.
            UnpricedError: A USD limit applies and the model has no price.
            ProviderError: The provider refused or gave no usable answer.
            AnswerError: The answer is not of the type, nor the second one.
        """
        request = _request(prompt, system, max_output_tokens, temperature, vendor_tools)
        _check(model, request, on_text)
        if response_type is None:
            return await self._runtime.complete(model, request, on_text)

        async def send(each: CompletionRequest) -> Completion:
            return await self._runtime.complete(model, each, on_text)

        return await complete_as(send, request, response_type)

    def stream(
        self,
        prompt: str | Sequence[ChatMessage],
        *,
        system: str = "",
        model: str | None = None,
        max_output_tokens: int = DEFAULT_OUTPUT_TOKENS,
        temperature: float | None = None,
        vendor_tools: VendorTools = (),
    ) -> AnswerStream:
        """Ask a model and read its answer while it is written: ``async for piece in ctx.llm.stream("...")``.

        It takes what :meth:`complete` takes.

        Raises:
            ConfigError: An argument is wrong. While it is read, it raises what :meth:`complete` raises.
        """
        request = _request(prompt, system, max_output_tokens, temperature, vendor_tools)
        _check(model, request, None)
        return AnswerStream(partial(self._runtime.complete, model, request))

    async def send(
        self,
        model: str | None,
        request: CompletionRequest,
        on_text: TextSink | None = None,
        last_word: LastWord | None = None,
    ) -> Completion:
        """Make a call that is already spelled out; see :meth:`complete`.

        With ``last_word`` it leaves room for one more call, which that makes of the request when this does not fit.
        """
        if not isinstance(request, CompletionRequest):
            raise ConfigError(f"a request is a CompletionRequest, not {shown(request)}")
        _check(model, request, on_text)
        return await self._runtime.complete(model, request, on_text, last_word)

    async def embed(
        self, texts: Sequence[str], *, model: str | None = None, dimensions: int | None = None
    ) -> Embeddings:
        """Have a vector made of each text; held, charged and remembered as :meth:`complete` is, and raises the same.

        Args:
            texts: At least one.
            model: A model of the configuration that embeds; defaults to the only one there is.
            dimensions: How many numbers a vector is to have, where the model lets one choose.

        Raises:
            ConfigError: An argument is wrong.
            UnsupportedError: The model's providers serve no embeddings.
        """
        for each in arguments.several(texts, "the texts"):
            arguments.text(each, "a text to embed")
        if model is not None:
            arguments.text(model, "the model's name", most=arguments.KEY_MAX)
        if dimensions is not None:
            arguments.whole(dimensions, "dimensions", least=1, most=OUTPUT_TOKENS_MAX)
        return await self._runtime.embed(model, EmbeddingRequest(model="", inputs=tuple(texts), dimensions=dimensions))


def _request(
    prompt: object, system: str, max_output_tokens: int, temperature: float | None, vendor_tools: VendorTools
) -> CompletionRequest:
    """Make a request of what a handler has given.

    Raises:
        ConfigError: If a part of it is of a wrong type.
    """
    turns = _turns(prompt)
    if arguments.text(system, "the system prompt"):
        turns = (ChatMessage("system", system), *turns)
    tools, tools_bound = arguments.vendor_tools(vendor_tools)
    return CompletionRequest(
        model="",
        messages=turns,
        max_output_tokens=max_output_tokens,
        temperature=temperature,
        vendor_tools=tools,
        vendor_fields=tools_bound,
    )


def _turns(prompt: object) -> tuple[ChatMessage, ...]:
    """Make a prompt turns of a conversation.

    Raises:
        ConfigError: If it is neither text nor a list of turns.
    """
    if isinstance(prompt, str):
        return (ChatMessage("user", arguments.text(prompt, "the prompt", most=PROMPT_BYTES_MAX)),)
    turns = arguments.several(prompt, "the prompt")
    if not turns:
        raise ConfigError("the prompt is empty")
    for turn in turns:
        if not isinstance(turn, ChatMessage):
            raise ConfigError(f"a turn of the prompt is a ChatMessage, not {shown(turn)}")
    return turns  # type: ignore[return-value]  # each has been looked at


def _check(model: object, request: CompletionRequest, on_text: object) -> None:
    """Refuse numbers that no ledger can hold, and the like, before the call has a number of its own.

    Raises:
        ConfigError: If so.
    """
    if model is not None:
        arguments.text(model, "the model's name", most=arguments.KEY_MAX)
    arguments.whole(request.max_output_tokens, "max_output_tokens", least=1, most=OUTPUT_TOKENS_MAX)
    arguments.number(request.temperature, "the temperature")
    if on_text is not None and not callable(on_text):
        raise ConfigError(f"on_text must be a function that takes text, not {shown(on_text)}")
