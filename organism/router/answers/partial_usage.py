"""Estimates what a provider's usage leaves out: missing counts are unknown, never zero. Pure.

A server may count only one side of a call, send ``{}`` or ``null``, or count before the end of the answer. Its counts
are lower bounds. Missing input is charged as held; missing output by a generous count of the visible text, or as the
whole cap where more may have been generated than shows.
"""

import re

from organism.amounts import TokenUsage, UsageSide
from organism.budget.estimate import output_tokens_from_text
from organism.llm.answers import Completion
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Answer, Request

_THINK_UNASKED = re.compile(
    r"(^|[/._:-])(o[1-9]|gpt-5|gpt-oss|deepseek-r\d|qwq|qwen3|gemini-(2\.5|[3-9])|grok-(3-mini|[4-9])|magistral"
    r"|glm-(4\.[5-9]|[5-9])|minimax-m\d|reasoner|reasoning|thinking|think|r1)($|[/._:@-])"
)
"""Names of models that think without being asked to, so that more is billed than shows."""


def thinks_unasked(model: str) -> bool:
    """Whether a model is known to think without being asked to."""
    return _THINK_UNASKED.search(model.lower()) is not None


def missing_sides(answer: Answer, request: Request) -> frozenset[UsageSide]:
    """Return the sides of an answer's usage that are not counted.

    A count of zero is missing if something was sent, or has visibly come back.
    """
    if answer.usage is None:
        return frozenset({"input", "output"})
    missing: set[UsageSide] = set(answer.usage_missing)
    if not answer.usage.input_total:
        missing.add("input")
    if not answer.usage.output_total and (answer.generated or _hides_output(answer, request)):
        missing.add("output")
    return frozenset(missing - {"output"} if isinstance(request, EmbeddingRequest) else missing)


def is_hidden(answer: Answer, request: Request) -> bool:
    """Whether more may have been generated than the answer shows: it is not whole, or the model has thought."""
    if not isinstance(answer, Completion):
        return False
    return (
        request.asks_to_think
        or bool(answer.reasoning)
        or bool(answer.usage and answer.usage.reasoning)
        or not answer.is_complete
        or thinks_unasked(request.model)
        or thinks_unasked(answer.model)
    )


def _hides_output(answer: Answer, request: Request) -> bool:
    """Whether an empty answer may have cost output all the same; one that was filtered has not."""
    return answer.finish_reason != "content_filter" and is_hidden(answer, request)


def completed_usage(
    answer: Answer, request: Request, missing: frozenset[UsageSide], input_tokens: int, output_cap: int
) -> TokenUsage:
    """Return an answer's usage with its missing sides filled in, at least what was counted of them.

    Args:
        input_tokens: What was held for the input.
        output_cap: The most the answer may have.
    """
    usage = answer.usage or TokenUsage()
    if "input" in missing:
        usage += TokenUsage(input=max(0, input_tokens - usage.input_total))
    if "output" in missing:
        tokens = output_cap if is_hidden(answer, request) else output_tokens_from_text(answer.generated)
        usage += TokenUsage(output=max(0, tokens - usage.output_total))
    return usage
