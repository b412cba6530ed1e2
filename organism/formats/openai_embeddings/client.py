"""Embeddings, the client side, for OpenAI, compatible servers and llama.cpp. Pure.

Vectors are asked for in base64 where the vendor is known to support it: four bytes a number instead of up to twenty.
Other servers are not asked, because some refuse the field. Answers may have numbers or base64, whatever was asked.
"""

import math
from base64 import b64decode
from typing import cast

from organism.errors import UncertainError
from organism.formats.counts import UsageError, input_counted, reported_cost
from organism.formats.errors.refusals import parse_answer
from organism.formats.json_reading import JsonObject, part, text_of, whole_number
from organism.formats.vendors import Vendor
from organism.llm.embeddings import BYTES_PER_NUMBER, EmbeddingRequest, Embeddings, pack


def encode(request: EmbeddingRequest, vendor: Vendor) -> JsonObject:
    """Write a request as the format's JSON object."""
    inputs = [each if isinstance(each, str) else list(each) for each in request.inputs]
    body: JsonObject = {"model": request.model, "input": inputs}
    if vendor.vectors == "base64":
        body["encoding_format"] = "base64"
    return body if request.dimensions is None else body | {vendor.dimensions: request.dimensions}


def decode(raw: bytes, vendor: Vendor, provider: str, request: EmbeddingRequest) -> Embeddings:
    """Read an answer; usage that is not sane becomes its ``usage_error``, and a count of zero is none.

    Raises:
        UncertainError: If it is not an answer in this format, or has not one vector for each input.
    """
    body = parse_answer(raw, provider)
    data = body.get("data")
    if not isinstance(data, list):
        raise UncertainError(provider, "an answer without data")
    places = _places(data)
    if len(data) != len(request.inputs) or places is None:
        raise UncertainError(provider, f"an answer with {len(data)} vectors for {len(request.inputs)} inputs")
    packed: dict[int, bytes] = {}
    for place, item in zip(places, data, strict=True):
        try:
            packed[place] = _packed(part(item, "embedding"))
        except ValueError as error:
            raise UncertainError(provider, f"an answer with a vector that is none: {error}") from None
    read, cost, fault = None, None, None
    if isinstance(said := body.get("usage"), dict):
        try:
            read, cost = input_counted(said), reported_cost(said, vendor)
        except UsageError as error:
            fault = str(error)
    return Embeddings(
        packed=tuple(packed[place] for place in sorted(packed)),
        model=text_of(body.get("model")) or request.model,
        usage=read,
        usage_error=fault,
        cost_nanousd=cost,
    )


def _places(data: list[object]) -> list[int] | None:
    """Return the index of each vector's input; ``None`` if the answer does not tell.

    Some servers write no index, or always the same, and mean the order; some count from one.
    """
    told = [whole_number(part(item, "index")) for item in data]
    indices = [index for index in told if index is not None]
    if len(set(told)) <= 1:
        return list(range(len(data)))
    first = min(indices)
    if sorted(indices) != list(range(first, first + len(data))) or first not in {0, 1}:
        return None
    return [index - first for index in indices]


def _packed(vector: object) -> bytes:
    """Return a vector's bytes.

    Raises:
        ValueError: If it is no vector.
    """
    if isinstance(vector, str):
        raw = b64decode(vector, validate=True)
        if not raw or len(raw) % BYTES_PER_NUMBER:
            raise ValueError(f"{len(raw)} bytes are no numbers of {BYTES_PER_NUMBER} bytes")
        return raw
    numbers = vector if isinstance(vector, list) else []
    if not numbers or not all(type(number) in {int, float} and math.isfinite(number) for number in numbers):
        raise ValueError("it has something in it that is no number")
    return pack(cast("list[float]", numbers))
