"""Answers in all oddities of the wire at once lose nothing, and are charged no less than they are billed."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from organism.errors import RejectedError
from organism.formats.answers.decoder import AnswerReader
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_embeddings.client import decode
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import COMPATIBLE, VENDORS
from organism.llm.deltas import Delta, DeltaSink
from organism.llm.embeddings import EmbeddingRequest
from tests.formats.dialects import chat, embeddings, messages, responses
from tests.formats.dialects.judge import Heard, bill_faults, charged, cut_faults, faults_of, read, received
from tests.formats.dialects.refusals import broke, refused
from tests.formats.dialects.truth import Draft, Truth, some_truth
from tests.formats.dialects.wire import Body, sent

pytestmark = pytest.mark.anyio

ReaderOf = Callable[[Truth, DeltaSink | None, bool], AnswerReader]


def chat_reader(truth: Truth, sink: DeltaSink | None, known: bool) -> AnswerReader:
    return ChatReader(truth.request, VENDORS["openai"] if known else COMPATIBLE, sink)


def messages_reader(truth: Truth, sink: DeltaSink | None, _known: bool) -> AnswerReader:
    return MessagesReader(truth.request, sink)


def responses_reader(truth: Truth, sink: DeltaSink | None, known: bool) -> AnswerReader:
    return ResponsesReader(truth.request, VENDORS["openai"] if known else COMPATIBLE, sink)


FORMATS = {
    "chat": (chat.drafted, chat_reader),
    "responses": (responses.drafted, responses_reader),
    "messages": (messages.drafted, messages_reader),
}


class Story:
    """One answer: drafted, sent, read.

    Args:
        name: Of its format.
        seed: Where its chance begins.
    """

    def __init__(self, name: str, seed: str) -> None:
        self.chance = random.Random(seed)
        drafted, self._reader = FORMATS[name]
        self.known = self.chance.random() < 0.3
        truth, streamed = some_truth(self.chance), self.chance.random() < 0.8
        self.draft: Draft = drafted(truth, self.chance, streamed=streamed, known=self.known)
        self.body = sent(self.draft)

    async def heard(self, body: Body) -> Heard:
        pieces: list[Delta] | None = [] if self.chance.random() < 0.7 else None
        reader = self._reader(self.draft.truth, None if pieces is None else pieces.append, self.known)
        result = await read(body, reader)
        return Heard(result, charged(result, self.draft.truth.request), pieces)

    def told(self, faults: list[str], body: Body) -> str:
        told = (*faults, str(self.draft.oddities), body.shape, repr(self.draft.truth), body.text[:6000])
        return "\n  ".join(told)


class Refusal(Story):
    """An error in the place of an answer, or behind some of it."""

    def __init__(self, name: str, seed: str) -> None:
        super().__init__(name, seed)
        self.is_first = not (self.chance.random() < 0.4 and broke(self.draft))
        if self.is_first:
            refused(self.draft, name)
        self.body = sent(self.draft)


class VectorStory(Story):
    """Vectors: drafted, sent, read."""

    def __init__(self, _name: str, seed: str) -> None:
        self.chance = random.Random(seed)
        self.vectors = embeddings.some_vectors(self.chance)
        self.draft = embeddings.drafted(self.vectors, self.chance)
        self.body = sent(self.draft)

    async def faults(self) -> list[str]:
        request = EmbeddingRequest(model="m", inputs=tuple("x" for _ in self.vectors.numbers))
        answer = decode(await received(self.body).read(), COMPATIBLE, "p", request)
        faults = bill_faults(self.draft, charged(answer, request))
        return faults if answer.vectors == self.vectors.numbers else [*faults, f"vectors {answer.vectors}"]


async def whole(story: Story) -> str:
    faults = (
        await story.faults()
        if isinstance(story, VectorStory)
        else faults_of(story.draft, await story.heard(story.body))
    )
    return story.told(faults, story.body) if faults else ""


async def refusal(story: Story) -> str:
    heard = await story.heard(story.body)
    if not isinstance(story, Refusal) or not story.is_first:
        faults = cut_faults(story.draft, heard)
    else:
        is_free = isinstance(heard.result, RejectedError) and heard.charge.outcome == "released"
        faults = [] if is_free else [f"not refused: {heard.result!r}"]
    return story.told(faults, story.body) if faults else ""


async def broken_off(story: Story) -> str:
    body = story.body.cut(story.chance.random())
    faults = cut_faults(story.draft, await story.heard(body))
    return story.told(faults, body) if faults else ""


@pytest.mark.parametrize(
    ("name", "judged"),
    [*((name, judged) for name in FORMATS for judged in (whole, broken_off, refusal)), ("embeddings", whole)],
)
async def test_no_word_no_call_and_no_token_is_lost(
    name: str, judged: Callable[[Story], Awaitable[str]], pytestconfig: pytest.Config
) -> None:
    """However an answer is written, its words, calls, reason and bill are read; what broke off is never whole."""
    first = pytestconfig.getoption("seed")
    seeds = [f"{name} {first} {number}" for number in range(pytestconfig.getoption("answers"))]
    wrong: dict[str, str] = {}
    blamed: Counter[str] = Counter()
    for seed in seeds:
        kind = VectorStory if name == "embeddings" else Refusal if judged is refusal else Story
        story = kind(name, seed)
        if told := await judged(story):
            wrong[seed] = told
            blamed.update(story.draft.oddities)
    shown = "\n\n".join(f"{seed}: {told}" for seed, told in list(wrong.items())[:5])
    assert not wrong, f"{len(wrong)} of {len(seeds)} read wrong; oddities: {blamed.most_common(12)}\n{shown}"
