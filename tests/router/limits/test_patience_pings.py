"""A provider that says that it is at work is waited for longer, and not for ever."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from organism.amounts import TokenUsage
from organism.errors import UncertainError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.vendors import COMPATIBLE
from organism.llm.answers import Completion
from organism.llm.deltas import Ping, ProviderSink
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings, Timeouts
from organism.testing import run
from tests.router.conftest import MakeRouter

SETTINGS = RouterSettings(providers={"a": ProviderSettings(timeouts=Timeouts(first_token_s=5))}, attempts=1)


class Busy:
    """Pings every so many seconds, for so long, and answers then.

    Args:
        every_s: How often.
        for_s: How long.
    """

    name = "a"

    def __init__(self, every_s: float, for_s: float) -> None:
        self._every_s = every_s
        self._for_s = for_s

    def extra_tokens(self, _request: object) -> int:
        return 0

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        waited = 0.0
        while waited < self._for_s:
            await anyio.sleep(self._every_s)
            waited += self._every_s
            if on_text is not None:
                on_text(Ping())
        return Completion(text="done", model=request.model, finish_reason="stop", usage=TokenUsage(input=1, output=1))

    async def embed(self, request: object) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("every_s", "for_s", "after_s"), [(3, 20, 21), (4, 27, 28), (6, 20, 5), (3, 100, 30), (4.9, 1000, 30)]
)
def test_pings_keep_an_attempt_alive_for_a_bounded_time(
    make_router: MakeRouter, every_s: float, for_s: float, after_s: float
) -> None:
    """A silence of 5 s with pings in it may be six times as long; without, it ends as ever."""

    async def main() -> None:
        async with make_router(Busy(every_s, for_s), settings=SETTINGS) as it:
            if after_s in {5, 30}:
                with pytest.raises(UncertainError, match="no sign of an answer"):
                    await it.ask(on_text=lambda piece: None)
            else:
                assert (await it.ask(on_text=lambda piece: None)).text == "done"
            assert anyio.current_time() == after_s

    run(main)


@pytest.mark.parametrize(
    "sent",
    [
        b": OPENROUTER PROCESSING\n\n", b'event: ping\ndata: {"type": "ping"}\n\n', b"event: ping\ndata: {}\n\n",
        b"data: [PING]\n\n", b'data: {"type": "keepalive", "sequence_number": 3}\n\n', b":\n",
    ],
    ids=str,
)  # fmt: skip
def test_every_way_to_say_so_is_understood(sent: bytes) -> None:
    """Comments, pings and their like are no part of an answer, and told as what they are."""
    request = CompletionRequest(model="m", messages=(ChatMessage("user", "x"),), max_output_tokens=9)
    make: list[Callable[[Any], Any]] = [lambda sink: MessagesReader(request, sink)]
    make.append(lambda sink: ChatReader(request, COMPATIBLE, sink))
    for reader in make:
        told: list[Any] = []
        AnswerDecoder("p", reader(told.append), told.append).feed(sent)
        assert told == [Ping()]
