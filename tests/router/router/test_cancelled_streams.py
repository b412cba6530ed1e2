"""Who cancels in mid-stream pays for what was read and written until then, and not for what was held in case."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from organism.amounts import Limits, TokenUsage
from organism.budget.holds import Spender
from organism.errors import UnsupportedError
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderPiece, ProviderSink, ServerToolUse, UsageDelta
from organism.llm.provider import Request
from organism.llm.requests import ChatMessage, CompletionRequest, VendorItem
from organism.llm.server_tools import SEARCH_TOKENS, server_tool_tokens
from organism.router.call import Call
from organism.testing import run
from organism.usage.events import UsageEvent
from tests.router.conftest import RATES, Fixture, MakeRouter

CAP = 4_000
WORDS = 30
SEARCH = VendorItem({"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, "messages")
CHAT_SEARCH = VendorItem({"type": "web_search_options"}, "chat")


class Upstream:
    """Writes a word every tenth of a second, after some pieces of another kind, until it is closed."""

    name = "upstream"
    stops_when_closed = True

    def __init__(self, *first: ProviderPiece) -> None:
        self._first = first
        self.written = 0

    def extra_tokens(self, request: Request) -> int:
        return server_tool_tokens(request) if isinstance(request, CompletionRequest) else 0

    async def complete(self, _request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        assert on_text is not None
        for piece in self._first:
            on_text(piece)
        while True:
            await anyio.sleep(0.1)
            self.written += 1
            on_text("word ")

    async def embed(self, _request: Any) -> Any:
        raise UnsupportedError(self.name, "embeddings")

    async def aclose(self) -> None:
        return None


async def cancelled(it: Fixture, text: str, *tools: VendorItem) -> UsageEvent:
    """Make a call, cancel it after three seconds, and return what it is charged."""
    request = CompletionRequest(
        model="", messages=(ChatMessage("user", text),), max_output_tokens=CAP, vendor_tools=tools
    )
    begun_s = anyio.current_time()
    with anyio.move_on_after(WORDS / 10 + 0.05):
        await it.router.complete(Call(spender=Spender("t", "a", "main"), root_thread_id="t", request=request), print)
    await it.router.wait_idle("t")
    assert anyio.current_time() - begun_s < WORDS / 10 + 0.1, "closed at once"
    (event,) = it.of(UsageEvent)
    assert isinstance(event, UsageEvent)
    return event


TEXTS = {
    "prose": "The ship went out with the tide, and came back with the next one all the same. " * 200,
    "code": "    if request.path not in known:\n        raise FaultError(404, f'{request.path}: nothing is here')\n"
    * 150,
    "JSON": '{"type": "function", "name": "read_file", "parameters": {"path": {"type": "string"}}}, ' * 150,
    "German": "Das Schiff lief mit der Ebbe aus und kam mit der nächsten Flut wie immer zurück. " * 200,
}


@pytest.mark.parametrize("kind", TEXTS)
def test_input_that_nobody_has_counted_is_charged_with_a_small_margin(make_router: MakeRouter, kind: str) -> None:
    """Where a vendor counts the input at the end alone, it is charged as what it is likely to be, and not as held."""
    text = TEXTS[kind]
    billed = len(text) // 4  # what the text takes with vendors' tokenizers, or a little more

    async def scenario() -> None:
        async with make_router(Upstream(), limits=Limits(tokens=1_000_000)) as it:
            event = await cancelled(it, text)
            held = it.entries[1].call.input_tokens  # type: ignore[union-attr]
            assert billed <= event.usage.input < held
            assert event.usage.input <= billed * 19 // 10
            assert event.outcome == "estimated"

    run(scenario)


def test_input_that_is_counted_in_mid_stream_is_charged_so(make_router: MakeRouter) -> None:
    """A provider's own count of the input, whenever it comes, is what a cancelled call is charged."""

    async def scenario() -> None:
        async with make_router(Upstream(UsageDelta(TokenUsage(input=77, cached_input=5)))) as it:
            event = await cancelled(it, TEXTS["prose"])
            assert (event.usage.input, event.usage.cached_input) == (77, 5)

    run(scenario)


@pytest.mark.parametrize(
    ("tools", "first", "searches"),
    [
        pytest.param((), (), 0, id="no tools"),
        pytest.param((SEARCH,), (), 0, id="none has run"),
        pytest.param((SEARCH,), (ServerToolUse(),), 3, id="one has run"),
        pytest.param((SEARCH,), (UsageDelta(TokenUsage(input=50)),), 0, id="counted, and none has run"),
        pytest.param((SEARCH,), (UsageDelta(TokenUsage(input=50)), ServerToolUse()), 3, id="counted before one ran"),
        pytest.param((CHAT_SEARCH,), (), 1, id="one that does not show in its format"),
    ],
)
def test_tools_of_the_vendors_are_charged_if_the_stream_has_shown_one(
    make_router: MakeRouter, tools: tuple[VendorItem, ...], first: tuple[ProviderPiece, ...], searches: int
) -> None:
    """What is held for searches is not charged where none has begun: neither their text nor their fees."""

    async def scenario() -> None:
        rates = {"upstream": replace(RATES, request=0)}
        async with make_router(Upstream(*first), limits=Limits(tokens=1_000_000), prices=rates) as it:
            event = await cancelled(it, "search the sea", *tools)
            assert searches * SEARCH_TOKENS <= event.usage.input < searches * SEARCH_TOKENS + 500
            assert event.cost_nanousd is not None
            assert (event.cost_nanousd > event.usage.total) == bool(searches), "a search has a fee"

    run(scenario)
