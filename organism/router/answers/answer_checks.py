"""Checks what adapters return and raise, once, before it is charged, kept and handed on. Pure.

An answer that passes can be stored in the journal and read again. An insane count of tokens or amount of money becomes
the answer's ``usage_error``: the call is then charged its whole hold, as disputed. An invalid answer means what a
broken connection means: the provider may have done the work and billed it.
"""

from msgspec.structs import replace

from organism.amounts import CALL_NANOUSD_MAX, COUNTED_TOKENS_MAX, TokenUsage
from organism.concurrency.foreign_code import discarded, encodable
from organism.errors import ProviderError, RejectedError, UncertainError
from organism.llm.answers import Completion
from organism.llm.embeddings import BYTES_PER_NUMBER, EmbeddingRequest, Embeddings
from organism.llm.provider import Answer, Request
from organism.router.planning.request_checks import is_finite, sound
from organism.text.error_text import describe, shown, with_type

_OURS = "organism.errors"
_NAME_MAX = 256
_FAULT_MAX = 500
_MODELS_MAX = 64
"""The most other models that may have added to an answer."""


def checked_answer(answer: object, request: Request, provider: str) -> Answer:
    """Check what an adapter returned.

    Raises:
        UncertainError: It is not an answer to such a request.
    """
    kind: type[Answer] = Embeddings if isinstance(request, EmbeddingRequest) else Completion
    if not isinstance(answer, Completion | Embeddings) or not isinstance(answer, kind):
        discarded(answer)
        raise UncertainError(provider, f"its adapter returned {shown(answer)}, which is no {kind.__name__}")
    try:
        believed = _short(_believed(answer))
        if isinstance(believed, Embeddings):
            return _checked_vectors(believed, request)
        return sound(believed, Completion)[0]
    except Exception as error:  # noqa: BLE001 - what is in an answer is a stranger's, and may fail in any way
        raise UncertainError(provider, f"its adapter returned a {kind.__name__} with {describe(error)}") from None


def checked_failure(error: BaseException, provider: str) -> ProviderError:
    """Return the error that an adapter's error means: a :class:`RejectedError` counts, anything else is uncertain."""
    if not isinstance(error, ProviderError):
        return UncertainError(provider, f"unexpected {with_type(error)}")
    try:
        if type(error).__module__.startswith(_OURS) and _is_sound(error):
            _keep_counted(error)
            return error
        # A class of the adapter's own may lack anything that ours have.
        status = error.status if type(error.status) is int else None
        detail = encodable(str(error.detail))
        if not isinstance(error, RejectedError):
            return UncertainError(provider, detail, status=status)
        again, wait_s = error.again is True, error.retry_after_s if _is_wait(error.retry_after_s) else None
        return RejectedError(provider, detail, status=status, again=again, retry_after_s=wait_s)
    except Exception:  # noqa: BLE001 - likewise
        kind = RejectedError if isinstance(error, RejectedError) else UncertainError
        return kind(provider, describe(error))


def _is_sound(error: ProviderError) -> bool:
    """Whether the attributes of an error have their proper types."""
    if not (error.status is None or type(error.status) is int) or not isinstance(error.detail, str):
        return False
    if encodable(str(error)) != str(error):
        return False
    return not isinstance(error, RejectedError) or (type(error.again) is bool and _is_wait(error.retry_after_s))


def _keep_counted(error: ProviderError) -> None:
    """Check the counted answer of a failure, and drop an invalid one."""
    if isinstance(error, UncertainError) and error.counted is not None:
        is_answer = isinstance(error.counted, Completion)
        error.counted = sound(_short(_believed(error.counted)), Completion)[0] if is_answer else None  # type: ignore[arg-type]


def _is_wait(seconds: object) -> bool:
    return seconds is None or (is_finite(seconds) and float(seconds) >= 0)  # type: ignore[arg-type]


def _believed(answer: Answer) -> Answer:
    """Return an answer without insane usage or cost, which become its ``usage_error``."""
    fault: object = answer.usage_error
    if fault is not None and not isinstance(fault, str):
        fault = shown(fault)
    fault = fault or _usage_fault(answer.usage) or _cost_fault(answer.cost_nanousd)
    if isinstance(answer, Completion) and answer.usage_elsewhere:
        fault = fault or _elsewhere_fault(answer.usage_elsewhere)
    if not isinstance(fault, str):
        return answer
    if isinstance(answer, Completion):
        answer = replace(answer, usage_elsewhere={})
    return replace(answer, usage=None, usage_error=encodable(fault[:_FAULT_MAX]), cost_nanousd=None)


def _short(answer: Answer) -> Answer:
    """Return an answer with its names cut short: they go into every event, and into labels of metrics."""
    if len(answer.model) > _NAME_MAX:
        answer = replace(answer, model=answer.model[:_NAME_MAX])
    if isinstance(answer, Completion) and len(answer.finish_reason) > _NAME_MAX:
        answer = replace(answer, finish_reason=answer.finish_reason[:_NAME_MAX])
    return answer


def _usage_fault(usage: object) -> str | None:
    if usage is None:
        return None
    if type(usage) is not TokenUsage:
        return f"usage is {shown(usage)}"
    for name in TokenUsage.__struct_fields__:
        tokens = getattr(usage, name)
        if type(tokens) is not int or not 0 <= tokens <= COUNTED_TOKENS_MAX:
            return f"usage.{name} is {shown(tokens)}"
    return None


def _elsewhere_fault(usage_by_model: object) -> str | None:
    """Return what is wrong with the usage of other models; a price is looked up for each of them."""
    if not isinstance(usage_by_model, dict) or len(usage_by_model) > _MODELS_MAX:
        return f"usage_elsewhere is of more than {_MODELS_MAX} models, or of none"
    for model, usage in usage_by_model.items():
        if not isinstance(model, str) or len(model) > _NAME_MAX or usage is None:
            return f"usage_elsewhere has {shown(usage)} of {shown(model)}"
        if (fault := _usage_fault(usage)) is not None:
            return f"usage_elsewhere: {fault}"
    return None


def _cost_fault(cost: object) -> str | None:
    if cost is None or (type(cost) is int and 0 <= cost <= CALL_NANOUSD_MAX):
        return None
    return f"cost_nanousd is {shown(cost)}"


def _checked_vectors(answer: Embeddings, request: Request) -> Embeddings:
    """Check vectors directly: as JSON they would be a third larger.

    Raises:
        ValueError: If one is invalid, or there is not one for each input.
    """
    wanted = len(request.inputs) if isinstance(request, EmbeddingRequest) else 0
    if not isinstance(answer.packed, tuple | list) or len(answer.packed) != wanted:
        raise ValueError(f"vectors that are not {wanted}")
    for vector in answer.packed:
        if type(vector) is not bytes or not vector or len(vector) % BYTES_PER_NUMBER:
            raise ValueError(f"a vector that is none: {shown(vector)}")
    whole, _ = sound(replace(answer, packed=()), Embeddings)
    return replace(whole, packed=tuple(answer.packed))
