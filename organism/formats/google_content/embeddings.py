"""Google's ``embedContent`` and ``batchEmbedContents``, the server side. Pure.

Source: the references of ``POST /v1beta/models/{model}:embedContent`` and ``:batchEmbedContents``.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from organism.formats.errors.faults import bad_request
from organism.formats.google_content import server_body as body
from organism.formats.google_content.server_request import camel
from organism.formats.server_format import AskedFor, Json, Meta, convert
from organism.llm.embeddings import EmbeddingRequest, Embeddings

EmbeddingsAsked = AskedFor[EmbeddingRequest]

TEXTS_MAX = 2048
"""Texts of one request, as in OpenAI's embeddings; Google itself takes fewer."""

REFUSED: Mapping[str, str] = {
    "taskType": "providers are asked for a text's own vector; leave it out",
    "title": "providers are asked for a text's own vector; put it into the text",
}
"""Why fields that would change a text's vector are refused."""


class Embed(body.Body, frozen=True, kw_only=True):
    """A request for the vector of one text."""

    content: body.Content
    model: str = ""
    output_dimensionality: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None


class Batch(body.Body, frozen=True, kw_only=True):
    """A request for the vectors of several texts."""

    model: str
    requests: Annotated[list[Json], msgspec.Meta(min_length=1, max_length=TEXTS_MAX)]


def read_request(raw: Json, default_cap: int) -> EmbeddingsAsked:
    """Translate a request of ``embedContent``; the gateway puts the path's model into the body.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    del default_cap
    asked = convert(camel(raw), Embed, conversation=("content",), refused=REFUSED)
    return _asked(asked.model, [asked], "content")


def read_batch(raw: Json, default_cap: int) -> EmbeddingsAsked:
    """Translate a request of ``batchEmbedContents``; the gateway puts the path's model into the body.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    del default_cap
    asked = convert(camel(raw), Batch, conversation=("requests",))
    texts = [convert(each, Embed, refused=REFUSED) for each in asked.requests]
    for place, each in enumerate(texts):
        if each.model.removeprefix("models/") not in {"", asked.model}:
            at = f"requests[{place}].model"
            raise bad_request(f"{at}: it must be the model of the path, {asked.model!r}", at)
    return _asked(asked.model, texts, "requests")


def answered(asked: EmbeddingsAsked, meta: Meta, answer: Embeddings) -> Json:
    """Write the vector of one text."""
    del asked, meta
    return {"embedding": _values(answer)[0], **_usage(answer)}


def batch_answered(asked: EmbeddingsAsked, meta: Meta, answer: Embeddings) -> Json:
    """Write the vectors of several texts."""
    del asked, meta
    return {"embeddings": _values(answer), **_usage(answer)}


def _asked(model: str, texts: list[Embed], at: str) -> EmbeddingsAsked:
    """Return the call for texts.

    Raises:
        FaultError: If one is empty or not text, or their vectors are to have different sizes.
    """
    sizes = {each.output_dimensionality for each in texts}
    if len(sizes) > 1:
        raise bad_request(f"{at}: outputDimensionality must be the same for all texts of a call", at)
    inputs = tuple(_text(each.content) for each in texts)
    if not all(inputs):
        raise bad_request(f"{at}: text alone is embedded, and nothing cannot be", at)
    return EmbeddingsAsked(request=EmbeddingRequest(model=model, inputs=inputs, dimensions=sizes.pop()))


def _text(content: body.Content) -> str:
    """Return a content's text; empty if it has anything but text."""
    texts = [part.text or "" for part in content.parts if part == body.Part(text=part.text)]
    return "".join(texts) if len(texts) == len(content.parts) else ""


def _values(answer: Embeddings) -> list[Json]:
    return [{"values": vector} for vector in answer.vectors]


def _usage(answer: Embeddings) -> Json:
    return {} if answer.usage is None else {"usageMetadata": {"promptTokenCount": answer.usage.total}}
