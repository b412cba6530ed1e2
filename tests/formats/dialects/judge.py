"""Reads a body as the router's providers do, charges it as the router does, and says what is wrong with that."""

import json
from collections.abc import AsyncGenerator
from typing import cast

import msgspec

from organism.amounts import Amounts, TokenUsage
from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats.answers.decoder import AnswerDecoder, AnswerReader
from organism.ledger.entries import CallRecord
from organism.llm.answers import Completion
from organism.llm.deltas import Delta, ToolCallDelta
from organism.llm.provider import Answer, Request
from organism.pricing.rates import Rate, Rates, cost_nanousd
from organism.providers.http import BODY_MAX, Received
from organism.router.answers.answer_checks import checked_answer, checked_failure
from organism.router.answers.charge import Charge
from organism.router.attempt import Attempt
from organism.router.limits.limiter import Permit
from organism.router.limits.patience import Patience
from organism.router.planning.plan import Route
from organism.router.prepared_call import PreparedCall
from tests.formats.dialects.truth import Draft, Json
from tests.formats.dialects.wire import Body

RATES = Rates(
    input=Rate(3_000_000_000),
    cached_input=Rate(300_000_000),
    cache_write=Rate(3_750_000_000),
    output=Rate(15_000_000_000),
    reasoning=Rate(15_000_000_000),
    source="test",
)
HELD_INPUT, HELD_OUTPUT = 4_000, 4_000
HELD = GrantedHold(
    hold_id="h",
    accounts=("thread:t",),
    amounts=Amounts(
        HELD_INPUT + HELD_OUTPUT, cost_nanousd(RATES, TokenUsage(cache_write=HELD_INPUT, output=HELD_OUTPUT)), 1
    ),
    output_cap=HELD_OUTPUT,
)


class Heard(msgspec.Struct):
    """What came of a body.

    Attributes:
        result: The answer, or why there is none.
        charge: What the router would record.
        pieces: What was handed over while it came; ``None`` if nobody listened.
    """

    result: Answer | ProviderError
    charge: Charge
    pieces: list[Delta] | None


class _Response:
    status = 200

    def __init__(self, body: Body) -> None:
        self.headers = {name.lower(): value for name, value in body.headers.items()}
        self._chunks = body.chunks

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        pass


class _NoPrices:
    def rates(self, provider: str, model: str) -> Rates | None:  # noqa: ARG002 - what the protocol asks for
        return None


def received(body: Body) -> Received:
    """Return a body as it arrives from a server."""
    return Received(_Response(body), BODY_MAX)


async def read(body: Body, reader: AnswerReader) -> Answer | ProviderError:
    """Read a body; whatever else than what is promised comes out of it is a crash, and passes."""
    try:
        return await received(body).answer(AnswerDecoder("p", reader))
    except (UncertainError, RejectedError) as error:
        return error


def charged(result: Answer | ProviderError, request: Request) -> Charge:
    """Decide what the router records for a result."""
    record = CallRecord(
        thread_id="t", root_thread_id="t", agent="a", message_id="m", call_id="c", attempt=1, provider="p", model="m",
        request_model=request.model, input_tokens=HELD_INPUT, output_cap=HELD_OUTPUT, price_source="test",
    )  # fmt: skip
    ask = Ask(input_tokens=HELD_INPUT, output_cap=HELD_OUTPUT)
    prepared = PreparedCall(Route("p", request.model), Spender("t", "a", "m", "p"), ask, record, RATES, None)
    permit, patience = cast("Permit", None), Patience(timeout_s=1.0)
    attempt = Attempt(prepared=prepared, request=request, held=HELD, permit=permit, patience=patience)
    attempt.result = (
        checked_failure(result, "p") if isinstance(result, ProviderError) else checked_answer(result, request, "p")
    )
    return attempt.charge(_NoPrices())


def faults_of(draft: Draft, heard: Heard) -> list[str]:
    """Say what is wrong with how an answer was read that came whole."""
    if not isinstance(answer := heard.result, Completion):
        return [f"not an answer: {answer!r}"]
    truth, faults = draft.truth, []
    if answer.text != truth.text:
        faults.append(f"text {answer.text!r}, not {truth.text!r}")
    if "".join(thought.text for thought in answer.reasoning) != truth.thoughts:
        faults.append(f"thoughts {[thought.text for thought in answer.reasoning]}, not {truth.thoughts!r}")
    if answer.finish_reason != truth.finish_reason:
        faults.append(f"ended by {answer.finish_reason}, not {truth.finish_reason}")
    if bool(answer.refusal) is not truth.is_refusal:
        faults.append(f"refusal {answer.refusal!r}, {truth.is_refusal}")
    faults += _call_faults(draft, answer)
    faults += _piece_faults(answer, heard.pieces)
    return faults + bill_faults(draft, heard.charge)


def bill_faults(draft: Draft, charge: Charge) -> list[str]:
    """Say where less is recorded than was billed, or more although the counts were plain."""
    bill, faults = draft.truth.bill, []
    billed = cost_nanousd(RATES, bill)
    if charge.usage.total < bill.total or (charge.cost_nanousd or 0) < billed:
        faults.append(f"recorded {charge.usage} and {charge.cost_nanousd}, billed {bill} and {billed}")
    if charge.outcome not in {"settled", "estimated"}:
        faults.append(f"{charge.outcome}: {charge.error}")
    if draft.is_plain and charge.usage.total != bill.total:
        faults.append(f"counted {charge.usage}, plainly {bill}")
    return faults


def _call_faults(draft: Draft, answer: Completion) -> list[str]:
    wanted = [(call.name, call.arguments) for call in draft.truth.calls]
    found = [(call.name, _object(call.arguments)) for call in answer.tool_calls]
    if not answer.is_complete:  # a call without arguments may have lost them, and is not taken for one without
        found = [(name, {} if value == "" else value) for name, value in found]
    faults = [f"calls {answer.tool_calls}, not {wanted}"] if found != wanted else []
    if len({call.id for call in answer.tool_calls}) != len(answer.tool_calls) or not all(
        c.id for c in answer.tool_calls
    ):
        faults.append(f"ids {[call.id for call in answer.tool_calls]}")
    return faults


def _object(text: str) -> Json | str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return cast("Json", value)


def _piece_faults(answer: Completion, pieces: list[Delta] | None) -> list[str]:
    """What was handed over in pieces must be the beginning of the answer, and its text the whole."""
    if pieces is None:
        return []
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    faults = [f"handed over {text!r}, not {answer.text!r}"] if text != answer.text else []
    written: dict[int, ToolCallDelta] = {}
    for piece in pieces:
        if isinstance(piece, ToolCallDelta):
            known = written.get(piece.place)
            arguments = (known.arguments if known else "") + piece.arguments
            written[piece.place] = ToolCallDelta(piece.id, piece.name, arguments, piece.place)
    shown = [(piece.id, piece.name, piece.arguments) for _, piece in sorted(written.items())]
    by_id = {call.id: call for call in answer.tool_calls}
    for call_id, name, arguments in shown:
        call = by_id.get(call_id)
        if call is None or call.name != name or _object(call.arguments) != _object(arguments):
            faults.append(f"handed over {name} {call_id} {arguments!r}, not {call}")
    return faults


def cut_faults(draft: Draft, heard: Heard) -> list[str]:
    """Say what is wrong with how an answer was read that broke off: whole it is only if all of it was there."""
    truth, result = draft.truth, heard.result
    if isinstance(result, RejectedError):
        return [f"taken for refused: {result}"]
    if not isinstance(result, Completion) or not result.is_complete:
        return _too_little(draft, heard)
    calls = [(call.name, _object(call.arguments)) for call in result.tool_calls]
    is_all = result.text == truth.text and calls == [(call.name, call.arguments) for call in truth.calls]
    return [] if is_all else [f"complete, with {result.text!r} and {calls}"]


def _too_little(draft: Draft, heard: Heard) -> list[str]:
    bill, charge = draft.truth.bill, heard.charge
    return [] if charge.usage.total >= bill.total else [f"recorded {charge.usage} as {charge.outcome}, billed {bill}"]
