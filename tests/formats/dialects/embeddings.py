"""Embeddings as their servers write them: never streamed, and with nothing put out."""

import base64
import random
import struct
from typing import Any

import msgspec

from organism.amounts import TokenUsage
from tests.formats.dialects.counts import odd_number
from tests.formats.dialects.truth import Draft, Json, Truth


class Vectors(msgspec.Struct, frozen=True):
    """What was asked for, and what it is billed."""

    numbers: tuple[tuple[float, ...], ...]
    bill: TokenUsage


def some_vectors(chance: random.Random) -> Vectors:
    """Think of vectors whose numbers 32 bits hold."""
    length = chance.randint(1, 5)
    count = chance.randint(1, 6)
    numbers = tuple(tuple(chance.randrange(-64, 64) / 16 for _ in range(length)) for _ in range(count))
    return Vectors(numbers, TokenUsage(input=chance.randint(1, 900)))


def drafted(wanted: Vectors, chance: random.Random) -> Draft:
    """Write vectors as some server would."""
    truth = Truth(thoughts="", text="", is_refusal=False, calls=(), ended="stop", bill=wanted.bill)
    draft = Draft(truth=truth, chance=chance, streamed=False)
    in_base64 = chance.random() < 0.4
    data = [{"object": "embedding", "index": at, "embedding": _written(each, chance, in_base64=in_base64)} for at, each in enumerate(wanted.numbers)]  # fmt: skip # noqa: E501
    index = chance.choice(("usual", "usual", "none", "null", "text", "shuffled"))
    draft.oddities.append(f"index {index}")
    for item in data:
        if index == "none":
            del item["index"]
        elif index in {"null", "text"}:
            item["index"] = None if index == "null" else str(item["index"])
    if index == "shuffled":
        chance.shuffle(data)
    body: Json = {"object": "list", "data": data, "model": chance.choice(("m", "", None)), "usage": _usage(draft)}
    if chance.random() < 0.1:
        del body["object"], body["model"]
    draft.events = [body]
    return draft


def _written(numbers: tuple[float, ...], chance: random.Random, *, in_base64: bool) -> Any:
    if in_base64:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    return [int(number) if number.is_integer() and chance.random() < 0.5 else number for number in numbers]


def _usage(draft: Draft) -> Json | None:
    """OpenAI counts a prompt and a total; others one of them, by another name, or nothing."""
    chance, tokens = draft.chance, odd_number(draft.truth.bill.input, draft.chance)
    usage: Json | None = chance.choice((
        {"prompt_tokens": tokens, "total_tokens": tokens},
        {"total_tokens": tokens},
        {"prompt_tokens": 0, "total_tokens": tokens},
        {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": 0},
        {"input_tokens": tokens, "output_tokens": 0},
        {"prompt_tokens": tokens, "total_tokens": None, "cost": None},
        None, {}, {"prompt_tokens": 0, "total_tokens": 0}, {"prompt_tokens": -1},
    ))  # fmt: skip
    draft.is_plain = draft.is_counted = bool(usage) and tokens in usage.values()
    draft.oddities.append(str(usage))
    return usage
