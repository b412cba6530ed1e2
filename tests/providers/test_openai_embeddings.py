"""The embeddings format against a real server, with the official SDK: what is asked, and what is made of the answer."""

import json
from base64 import b64encode
from typing import Any

import pytest

from organism.amounts import TokenUsage
from organism.errors import ProviderError, UncertainError, UnsupportedError
from organism.formats.media.attachments import AttachmentBounds
from organism.formats.vendors import VENDORS
from organism.llm.embeddings import EmbeddingRequest, Embeddings, pack
from organism.providers.openai import OpenAIProvider
from organism.providers.scripted import scripted_vector
from organism.testing import HTTPStep, ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

REQUEST = EmbeddingRequest(model="m", inputs=("the sea", (5, 6, 7)), dimensions=4)


async def exchange(
    step: HTTPStep | None = None, vendor: str | None = None, api: str = "chat"
) -> tuple[dict[str, Any], Embeddings | ProviderError]:
    """Embed against our server; return what arrived there and what came back."""
    async with ScriptedHTTPProvider([step or HTTPStep()]) as server:
        adapter = OpenAIProvider("p", "k", f"{server.url}/v1", vendor=vendor, api=api)  # type: ignore[arg-type]
        try:
            answer: Embeddings | ProviderError = await adapter.embed(REQUEST)
        except ProviderError as error:
            answer = error
        await adapter.aclose()
    (request,) = server.requests
    assert request.path == "/v1/embeddings"
    return request.body, answer


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_vectors_and_usage_arrive_as_the_server_sent_them(api: str) -> None:
    """Texts and tokens go out as they are, vectors come back as any server gives them, and the count is all input."""
    body, answer = await exchange(api=api)

    assert body == {"model": "m", "input": ["the sea", [5, 6, 7]], "dimensions": 4}
    assert answer == Embeddings(
        packed=(pack(scripted_vector("the sea", 4)), pack(scripted_vector((5, 6, 7), 4))),
        model="scripted",
        usage=TokenUsage(input=5),
    )


def answered(*vectors: object, usage: object = None) -> HTTPStep:
    data = [{"index": place, "embedding": vector} for place, vector in enumerate(vectors)]
    return HTTPStep(body=json.dumps({"data": data, "usage": usage}))


async def test_servers_that_send_numbers_are_understood() -> None:
    """Who does not know base64 sends numbers, whole ones among them; the order is the server's own word."""
    body = '{"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [0.5, -2]}]}'

    _, answer = await exchange(HTTPStep(body=body))

    assert isinstance(answer, Embeddings)
    assert answer.vectors == ((0.5, -2.0), (0.0, 1.0))
    assert (answer.model, answer.usage) == ("m", None)


@pytest.mark.parametrize(
    "step",
    [
        answered([1]),
        answered([1], [1], [1]),
        answered([1], []),
        answered([1], ["1"]),
        answered([1], [True]),
        answered([1], [1e39]),
        answered([1], "AAA"),
        answered([1], "AAAA"),
        answered([1], None),
        HTTPStep(body='{"data": {}}'),
        HTTPStep(body='{"data": [{"embedding": [1]}, {"embedding": [Infinity]}]}'),
    ],
    ids=range(11),
)
async def test_vectors_that_are_none_are_no_answer(step: HTTPStep) -> None:
    """Too few, too many, or something in them that is no number: nobody reckons with it, and it was billed perhaps."""
    _, answer = await exchange(step)

    assert isinstance(answer, UncertainError)


async def test_a_batch_as_large_as_they_come_is_an_answer() -> None:
    """Thousands of long vectors are far more bytes than any words of a model; a flood is cut off all the same."""
    large = b64encode(bytes(15 * 1024 * 1024)).decode()

    _, answer = await exchange(answered(large, large))
    _, flooded = await exchange(HTTPStep(fault="flood", fault_after=1))

    assert isinstance(answer, Embeddings)
    assert [len(raw) for raw in answer.packed] == [15 * 1024 * 1024] * 2
    assert isinstance(flooded, UncertainError)
    assert "67,108,864 bytes" in str(flooded)


@pytest.mark.parametrize(
    ("usage", "expected", "fault"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, 7, None),
        ({"prompt_tokens": 7, "total_tokens": 9}, 9, None),
        ({"total_tokens": 7}, 7, None),
        ({"prompt_tokens": 0, "total_tokens": 0}, None, None),
        ({"prompt_tokens": -1}, None, None),
        ({"prompt_tokens": -2}, None, "prompt_tokens"),
        ({"prompt_tokens": "7", "total_tokens": 7.0}, 7, None),
        ("7", None, None),
    ],
)
async def test_usage_is_believed_if_it_can_be(usage: object, expected: int | None, fault: str | None) -> None:
    """All that is counted is input; nothing counted is no count, and nonsense is named."""
    _, answer = await exchange(answered([1], [2], usage=usage))

    assert isinstance(answer, Embeddings)
    assert answer.usage == (None if expected is None else TokenUsage(input=expected))
    assert fault is None or fault in str(answer.usage_error)


async def test_vendors_words_are_used() -> None:
    """Mistral has another word for the length of a vector, and OpenRouter says what it has cost."""
    body, _ = await exchange(vendor="mistral")
    _, answer = await exchange(answered([1], [2], usage={"prompt_tokens": 7, "cost": 0.000001}), vendor="openrouter")

    assert (body["output_dimension"], "dimensions" in body) == (4, False)
    assert answer.cost_nanousd == 1000  # type: ignore[union-attr]


@pytest.mark.parametrize("vendor", [name for name, vendor in VENDORS.items() if not vendor.embeds])
def test_vendors_without_embeddings_refuse_them(vendor: str) -> None:
    """Who serves none says so before anything is sent; a bound of what is not text has to do with conversations."""
    adapter = OpenAIProvider("p", "k", vendor=vendor, bounds=AttachmentBounds(image_tokens=1))

    with pytest.raises(UnsupportedError, match="embeddings"):
        adapter.extra_tokens(REQUEST)
