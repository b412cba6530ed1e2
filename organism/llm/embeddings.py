"""Embeddings: texts that become vectors. The second kind of call, which has input only.

Requests and answers have the attributes that the router needs of completions, so it treats both alike.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import ClassVar

import msgspec

from organism.amounts import TokenUsage, UsageSide
from organism.usage.attempts import Operation

BYTES_PER_NUMBER = 4
"""Bytes of a number in a packed vector: IEEE 754, 32 bits, little-endian."""


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="embedding_request"):
    """What one attempt sends.

    Attributes:
        model: The model's name at the provider.
        inputs: Each becomes a vector: a text, or tokens of the model's own; never empty.
        dimensions: How many numbers a vector is to have, where a model lets one choose.
    """

    operation: ClassVar[Operation] = "embeddings"
    max_output_tokens: ClassVar[int] = 0
    output_at_most: ClassVar[int] = 0
    choices: ClassVar[int] = 1
    asks_to_think: ClassVar[bool] = False

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None

    def granted(self, model: str, output_cap: int) -> "EmbeddingRequest":  # noqa: ARG002 - nothing is put out
        """Return the request as it is sent to a model."""
        return msgspec.structs.replace(self, model=model)

    def texts(self) -> Iterator[str]:
        """Yield every text that becomes input."""
        yield from (each for each in self.inputs if isinstance(each, str))

    @property
    def tokens(self) -> int:
        """The number of input tokens that are given as tokens."""
        return sum(len(each) for each in self.inputs if not isinstance(each, str))

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """The input as turns of role and text, for observers of content."""
        return tuple(("user", text) for text in self.texts())


class Embeddings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="embeddings"):
    """What one attempt answered.

    Attributes:
        packed: A vector for each input, in their order; see :data:`BYTES_PER_NUMBER`.
        model: The model the provider says it used, which may differ from the one asked for.
        usage: The provider's own count; ``None`` when it sent none or an insane one.
        usage_missing: ``("input",)`` when :attr:`usage` is no more than a lower bound.
        usage_error: Why :attr:`usage` is ``None`` although the provider sent something.
        cost_nanousd: What the provider says the call has cost; ``None`` when it does not say.
    """

    text: ClassVar[str] = ""
    generated: ClassVar[str] = ""
    finish_reason: ClassVar[str] = "stop"

    packed: tuple[bytes, ...]
    model: str
    usage: TokenUsage | None
    usage_missing: tuple[UsageSide, ...] = ()
    usage_error: str | None = None
    cost_nanousd: int | None = None

    @property
    def vectors(self) -> tuple[tuple[float, ...], ...]:
        """The vectors as numbers."""
        return tuple(struct.unpack(f"<{len(raw) // BYTES_PER_NUMBER}f", raw) for raw in self.packed)


def pack(numbers: Sequence[float]) -> bytes:
    """Pack numbers into a vector's bytes.

    Raises:
        ValueError: If one is not a number, or does not fit into 32 bits.
    """
    try:
        return struct.pack(f"<{len(numbers)}f", *numbers)
    except (struct.error, OverflowError) as error:
        raise ValueError(str(error)) from None
