"""Embeddings through the gateway, by OpenAI's own SDK, before the scripted provider and a real model."""

import struct
from base64 import b64decode
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from organism import Limits
from organism.providers.anthropic import AnthropicProvider
from organism.providers.local import LocalProvider
from organism.providers.scripted import scripted_vector
from organism.testing import HTTPStep

pytestmark = pytest.mark.anyio

Serve = Callable[..., AbstractAsyncContextManager[Any]]


async def test_vectors_are_the_providers_and_usage_is_what_was_charged(served: Serve) -> None:
    """A program gets a vector for each text, in order, as numbers or packed, and its thread pays for the input."""
    async with served() as gateway:
        create = gateway.client.embeddings.create
        answer = await create(model="main", input=["the sea", "the sky"], dimensions=4, user="u")
        plain = await create(model="main", input="the sea", encoding_format="float")
        packed = await gateway.http.post(
            "/v1/embeddings", json={"model": "main", "input": "the sea", "encoding_format": "base64"}
        )

        assert [each.embedding for each in answer.data] == [
            pytest.approx(scripted_vector(text, 4), abs=1e-6) for text in ("the sea", "the sky")
        ]
        assert [each.index for each in answer.data] == [0, 1]
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.model) == (4, 4, "scripted")
        assert plain.data[0].embedding == pytest.approx(scripted_vector("the sea"), abs=1e-6)
        raw = b64decode(packed.json()["data"][0]["embedding"])
        assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(plain.data[0].embedding)
        assert gateway.organism.usage.total.usage.total == gateway.provider.billed.total == 8
        assert packed.headers["organism-thread"] == "key-ci"


@pytest.mark.parametrize(
    ("given", "sent"),
    [("a b", ["a b"]), ([1, 2, 3], [[1, 2, 3]]), ([[1, 2], [3]], [[1, 2], [3]]), (["a", [7]], ["a", [7]])],
)
async def test_tokens_are_as_good_as_texts(served: Serve, given: Any, sent: Any) -> None:
    """What a program has made into tokens itself goes on as tokens, and is counted as so many."""
    async with served() as gateway:
        await gateway.client.embeddings.create(model="main", input=given)

        assert gateway.provider.requests[0].body["input"] == sent


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [-1]}, "input[0]"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"something": 1}, "something"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_embedded_is_refused_by_its_name(served: Serve, change: Any, param: str) -> None:
    """Nothing is sent, and the field that is to blame is named."""
    async with served() as gateway:
        answer = await gateway.http.post("/v1/embeddings", json={"model": "main", "input": "a"} | change)

        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert gateway.provider.requests == []


async def test_exhausted_budget_and_failures_are_said_as_for_answers(served: Serve) -> None:
    """402 with every number where the budget is spent; a provider's failure is charged and not worth another try."""
    async with served([HTTPStep(body="<html>")], limits=Limits(tokens=100)) as gateway:
        with pytest.raises(openai.APIStatusError) as refused:
            await gateway.client.embeddings.create(model="main", input="a " * 500)
        with pytest.raises(openai.APIStatusError) as failed:
            await gateway.client.embeddings.create(model="main", input="a b")

        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.body["organism"]["scope"] == "thread:key-ci"  # type: ignore[index]
        assert failed.value.status_code == 502
        assert gateway.organism.usage.total.usage.total >= gateway.provider.billed.total > 0


async def test_model_without_embeddings_says_so(served: Serve) -> None:
    """A model that is only served where there are none cannot embed: the request is at fault, and nothing is sent."""
    async with served(upstream=lambda url: AnthropicProvider("double", "k", url)) as gateway:
        with pytest.raises(openai.BadRequestError, match="embeddings"):
            await gateway.client.embeddings.create(model="main", input="a b")

        assert gateway.provider.requests == []


@pytest.mark.thorough
async def test_real_model_embeds_for_a_program(served: Serve) -> None:
    """Before llama.cpp: vectors of the model's own length, and its own count of tokens is what the thread pays."""
    async with served(upstream=lambda _url: LocalProvider("double")) as gateway:
        answer = await gateway.client.embeddings.create(model="main", input=["the sea", "the sky"])

        assert [len(each.embedding) for each in answer.data] == [576, 576]
        assert answer.usage.total_tokens == gateway.organism.usage.total.usage.total > 3
