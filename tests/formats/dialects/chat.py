"""Chat completions as their servers write them."""

import random

from tests.formats.dialects.chat_oddities import STREAM, WHOLE
from tests.formats.dialects.chat_reference import chunk, chunks, whole
from tests.formats.dialects.counts import part_of, with_nothing, written
from tests.formats.dialects.truth import ENDS, Draft, Truth, crossed


def drafted(truth: Truth, chance: random.Random, *, streamed: bool, known: bool) -> Draft:
    """Write an answer by OpenAI's reference, then as somebody's server would.

    Args:
        truth: What it says.
        chance: Decides.
        streamed: Whether it is a stream.
        known: Whether the vendor's way to count is documented.
    """
    draft = Draft(truth=truth, chance=chance, streamed=streamed, done=streamed, ends={"reason", "counts"})
    if streamed:
        draft.ends.add("done")
        draft.events = [*chunks(draft), chunk({}, chance.choice(ENDS[truth.ended]))]
    else:
        draft.events = [whole(draft)]
    _count(draft, known=known)
    crossed(draft, STREAM if streamed else WHOLE)
    return draft


def _count(draft: Draft, *, known: bool) -> None:
    """Put usage where servers put it: OpenAI behind the last choice, others with it, in each chunk, or nowhere."""
    result = with_nothing(draft) if draft.chance.random() < 0.06 else written(draft, "chat", known=known)
    draft.is_counted, draft.is_plain = result.is_counted, result.is_plain
    usage = result.usage
    if not draft.streamed:
        draft.events[0]["usage"] = usage
        return
    if not usage:
        draft.ends.discard("counts")
    places = ("behind", "behind", "with", "after the end", "growing", "twice", "groq", "alone", "in choice")
    match draft.chance.choice(places):
        case "with":
            draft.events[-1]["usage"] = usage
            draft.ends.discard("counts")
        case "after the end":
            draft.events.append({"end": "[DONE]"})
            draft.events.append(chunk(None, usage=usage))
            draft.done = False
        case "growing":  # vLLM's continuous_usage_stats, Perplexity, xAI
            for place, event in enumerate(draft.events[:-1], 1):
                event["usage"] = part_of(usage, place / len(draft.events))
            draft.events[-1]["usage"] = usage
            draft.ends.discard("counts")
        case "twice":
            draft.events[-1]["usage"] = usage
            draft.events.append(chunk(None, usage=usage))
        case "groq" if usage:
            draft.events[-1]["x_groq"] = {"id": "r", "usage": usage}
            draft.ends.discard("counts")
        case "in choice" if usage and draft.events[-1].get("choices"):  # Moonshot
            draft.events[-1]["choices"][0]["usage"] = usage
            draft.ends.discard("counts")
        case "alone":  # without choices at all: Azure's relays
            draft.events.append({"usage": usage})
        case _:
            draft.events.append(chunk(None, usage=usage))
