"""How much is held for the first requests of a coding agent, with a model that nothing is known of yet."""

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import pytest
from msgspec.structs import replace

from organism import Limits, Organism, Text, agent
from organism.agents.context import Context
from organism.amounts import TokenUsage
from organism.errors import RejectedError
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.provider import Request
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, TextPart, VendorItem
from organism.llm.server_tools import SEARCH_TOKENS, server_tool_tokens
from organism.router.call import RouterSettings
from organism.router.input_counting import COUNT_S
from organism.testing import ScriptedAnswer, ScriptedProvider, run

PROMPT = 'You are a coding agent. Read files with `read_file`, and answer in JSON: {"path": "src/main.py"}.\n' * 300
REAL = len(PROMPT) // 4
NOTE = 600
OUTPUT = 10
Count = Callable[[CompletionRequest], Awaitable[int | None]]


class Vendor(ScriptedProvider):
    """A vendor whose models take a token for four bytes, and who counts for nothing.

    Args:
        counted: What it answers when it is asked to count.
    """

    def __init__(self, counted: Count) -> None:
        self.organism: Organism | None = None
        self.asked: list[CompletionRequest] = []
        self.held: list[int] = []
        self._counted = counted
        self.searched = VendorItem({"type": "web_search_call", "action": {"type": "open_page"}})
        self.searches = False
        super().__init__(self._answer)

    def _answer(self, _request: CompletionRequest) -> ScriptedAnswer:
        assert self.organism is not None
        (thread,) = self.organism.threads()
        self.held.append(self.organism.thread_budgets(thread.thread_id)[0].held.tokens - OUTPUT)
        return ScriptedAnswer(text="ok", usage=TokenUsage(input=REAL, output=1))

    def extra_tokens(self, request: Request) -> int:
        """Bound what it adds, such as a note on tools."""
        assert isinstance(request, CompletionRequest)
        return super().extra_tokens(request) + NOTE + server_tool_tokens(request)

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        """Answer, after a search perhaps."""
        answer = await super().complete(request, on_text)
        return replace(answer, vendor_items=(self.searched,)) if self.searches else answer

    async def count_input(self, request: CompletionRequest) -> int | None:
        """Count, or not."""
        self.asked.append(request)
        return await self._counted(request)


async def real(_request: CompletionRequest) -> int | None:
    return REAL


async def nothing(_request: CompletionRequest) -> int | None:
    return None


async def broken(_request: CompletionRequest) -> int | None:
    raise RejectedError("p", "no such path", status=404)


async def silent(_request: CompletionRequest) -> int | None:
    await anyio.sleep(COUNT_S * 100)
    return REAL


def ask(content: str | tuple[TextPart | ImagePart, ...] = PROMPT) -> CompletionRequest:
    return CompletionRequest(model="m", messages=(ChatMessage("user", content),), max_output_tokens=OUTPUT)


Estimate = Literal["tight", "strict"]


def made(
    *requests: CompletionRequest, count: Count = real, estimate: Estimate = "tight", searches: bool = False
) -> Vendor:
    """Make calls one after another, and return the vendor."""

    @agent()
    async def caller(message: Text, ctx: Context) -> None:
        for request in requests:
            await ctx.llm.send(None, request)

    async def main() -> Vendor:
        vendor = Vendor(count)
        vendor.searches = searches
        vendor.organism = organism = Organism(
            [caller],
            models={"m": "p/m"},
            providers={"p": vendor},
            limits=Limits(tokens=10**9),
            router=RouterSettings(estimate=estimate),
        )
        async with organism:
            await organism.run("go")
        return vendor

    return run(main)


def test_vendor_counts_the_first_request_of_a_coding_agent() -> None:
    """The first hold with a model is at most 1.3 times the input, the vendor's own count being asked once and free."""
    vendor = made(ask(), ask(PROMPT + "go on"), ask())
    assert all(REAL <= held <= REAL * 13 // 10 for held in vendor.held), (REAL, vendor.held)
    assert [(request.model, request.messages) for request in vendor.asked] == [("m", ask().messages)]
    assert [request.model for request in vendor.requests] == ["m"] * 3


@pytest.mark.parametrize("count", [nothing, broken, silent])
def test_without_a_count_the_first_call_teaches_the_second(count: Count) -> None:
    """A request with tools, which a vendor's note may come with, teaches too: the second hold is close."""
    vendor = made(ask(), ask(), count=count)
    first, second = vendor.held
    assert first > REAL * 15 // 10
    assert REAL <= second <= REAL * 13 // 10
    assert len(vendor.asked) == 1


@pytest.mark.parametrize(
    ("request_", "estimate"),
    [
        (ask("What is the tide?"), "tight"),
        (ask("word " * 2_000), "tight"),
        (ask(), "strict"),
        (ask((TextPart(PROMPT), ImagePart("image/png", b"x"))), "tight"),
    ],
    ids=["short", "middling", "strict", "image"],
)
def test_vendor_is_not_asked_where_its_count_would_teach_nothing(
    request_: CompletionRequest, estimate: Estimate
) -> None:
    """A short text is not worth the time, a strict bound is no guess, and of a picture nobody knows its part."""
    vendor = made(request_, estimate=estimate)
    assert (len(vendor.requests), vendor.asked) == (1, [])


SEARCHING = replace(ask(), vendor_tools=(VendorItem({"type": "web_search"}),))


@pytest.mark.parametrize(("searches", "least", "most"), [(False, 10, 13), (True, 15, 25)], ids=["unused", "used"])
def test_request_with_a_search_teaches_unless_it_was_searched(searches: bool, least: int, most: int) -> None:
    """What Codex may search for is held on top each time, but does not keep its own text from being learnt.

    An answer after a search says nothing of the text: what was found is in its input too.
    """
    vendor = made(SEARCHING, SEARCHING, count=nothing, searches=searches)
    assert REAL * least <= (vendor.held[1] - SEARCH_TOKENS) * 10 <= REAL * most, (REAL, vendor.held)


def test_little_text_beside_much_else_teaches_nothing() -> None:
    """A note that is longer than the text would make every later text look long."""
    vendor = made(*[ask("word " * 400)] * 12)
    assert len(set(vendor.held)) == 1
