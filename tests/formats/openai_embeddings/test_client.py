"""Which vector is for which input, as servers mark them."""

import json

import pytest

from organism.errors import UncertainError
from organism.formats.openai_embeddings.client import decode
from organism.formats.vendors import COMPATIBLE
from organism.llm.embeddings import EmbeddingRequest, pack

ASKED = EmbeddingRequest(model="m", inputs=("a", "b", "c"))
VECTORS = {"a": [0.5], "b": [1.5], "c": [2.5]}


def answer(*marked: tuple[str, object]) -> bytes:
    """Write an answer with the vectors of these inputs, marked so."""
    return json.dumps({"data": [{"embedding": VECTORS[name], "index": index} for name, index in marked]}).encode()


@pytest.mark.parametrize(
    "raw",
    [
        answer(("a", 0), ("b", 1), ("c", 2)),
        answer(("c", 2), ("a", 0), ("b", 1)),
        answer(("a", None), ("b", None), ("c", None)),
        answer(("a", 0), ("b", 0), ("c", 0)),
        answer(("b", 2), ("c", 3), ("a", 1)),
        answer(("a", "0"), ("b", "1"), ("c", "2")),
        answer(("b", 1.0), ("a", 0.0), ("c", 2.0)),
    ],
)
def test_each_input_gets_its_own_vector_however_they_are_marked(raw: bytes) -> None:
    """Without an index, or with one for all, the order counts; counted from one they are told apart as from zero."""
    assert decode(raw, COMPATIBLE, "p", ASKED).packed == tuple(pack(vector) for vector in VECTORS.values())


@pytest.mark.parametrize(
    "raw",
    [
        answer(("a", 0), ("b", 1)),
        answer(("a", 0), ("b", 0), ("c", 1)),
        answer(("a", 0), ("b", None), ("c", 2)),
        answer(("a", 0), ("b", 1), ("c", 3)),
        answer(("a", 7), ("b", 8), ("c", 9)),
        answer(),
    ],
)
def test_vectors_that_cannot_be_told_apart_are_not_guessed(raw: bytes) -> None:
    """A vector in the wrong place would be found for ever after for what it is not."""
    with pytest.raises(UncertainError, match=r"an answer with [023] vectors for 3 inputs"):
        decode(raw, COMPATIBLE, "p", ASKED)
