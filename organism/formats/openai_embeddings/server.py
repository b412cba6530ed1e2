"""OpenAI's embeddings, the server side. Pure.

Source: the reference of ``POST /v1/embeddings``.
"""

from base64 import b64encode
from typing import Annotated, Literal

import msgspec

from organism.formats.errors.faults import bad_request
from organism.formats.server_format import AskedFor, Json, Meta, convert
from organism.llm.embeddings import EmbeddingRequest, Embeddings

EmbeddingsAsked = AskedFor[EmbeddingRequest]
Token = Annotated[int, msgspec.Meta(ge=0)]
Inputs = Annotated[list[str | list[Token] | Token], msgspec.Meta(min_length=1, max_length=2048)]
"""OpenAI takes at most 2,048 inputs a request."""


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole request: one text or several, or the same as tokens."""

    model: str
    input: str | Inputs
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65_536)] | None = None
    user: str | None = None


def read_request(raw: Json, default_cap: int) -> EmbeddingsAsked:
    """Translate a request; see :class:`organism.formats.server_format.ServerFormat`.

    Raises:
        FaultError: It is wrong, or asks for what cannot be honoured.
    """
    del default_cap
    asked = convert(raw, EmbeddingsBody)
    request = EmbeddingRequest(model=asked.model, inputs=_inputs(asked.input), dimensions=asked.dimensions)
    return EmbeddingsAsked(request=request, echo={"encoding_format": asked.encoding_format})


def answered(asked: EmbeddingsAsked, meta: Meta, answer: Embeddings) -> Json:
    """Write an answer, its vectors as numbers or in base64, as the request asked."""
    del meta
    packed = asked.echo["encoding_format"] == "base64"
    vectors = [b64encode(raw).decode() for raw in answer.packed] if packed else answer.vectors
    used = answer.usage.total if answer.usage is not None else None
    return {
        "object": "list",
        "model": answer.model,
        "data": [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(vectors)],
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def _inputs(given: str | list[str | list[int] | int]) -> tuple[str | tuple[int, ...], ...]:
    """Return the inputs, each of which becomes a vector; loose tokens together are one input.

    Raises:
        FaultError: If there are texts or lists among such tokens, or an input is empty.
    """
    if isinstance(given, str):
        given = [given]
    loose = [each for each in given if isinstance(each, int)]
    if loose and len(loose) < len(given):
        raise bad_request("input: give texts, lists of tokens, or tokens, and not all together", "input")
    found = (
        [tuple(loose)]
        if loose
        else [each if isinstance(each, str) else tuple(each) for each in given if not isinstance(each, int)]
    )
    if not all(found):
        raise bad_request("input: nothing cannot be embedded", "input")
    return tuple(found)
