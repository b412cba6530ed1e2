"""One attempt at a model call: from the mark that it leaves to the entry that resolves its hold.

An attempt runs in a task of the router's own, not of its caller. So nothing that happens to the caller (a deadline,
a terminated thread, a second cancellation in the same breath) can keep the real usage out of the ledger: a cancelled
caller goes at once, and the attempt reads on for a bounded time before the whole hold is charged.

The adapter runs in a task of its own again, because it is a stranger's: when its time is up the attempt is resolved,
whether the adapter lets itself be cancelled or not.
"""

import math
from collections.abc import Awaitable
from functools import partial
from threading import get_ident

import anyio
import msgspec

from organism.amounts import CALL_NANOUSD_MAX, Amounts, TokenUsage
from organism.budget.holds import HeldCall
from organism.concurrency.foreign_code import ForeignTask, failure_of
from organism.errors import BudgetExhaustedError, ProviderError, Refusal, RejectedError, UncertainError
from organism.ledger.entries import CallRecord
from organism.ledger.ledger import Cost
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink, Ping, ProviderPiece, ProviderSink, UsageDelta
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Answer, Provider, Request
from organism.pricing.rates import Rates, cost_nanousd
from organism.router.adapters import Adapters, stops_when_closed
from organism.router.answers.answer_checks import checked_answer, checked_failure
from organism.router.answers.interrupted import InterruptedStream
from organism.router.answers.partial_usage import completed_usage, is_hidden, missing_sides
from organism.router.answers.piece_checks import checked_piece
from organism.router.limits.circuit import Health
from organism.router.limits.limiter import Permit
from organism.router.planning.call_rates import RateSource, charged_rates, held_rates, rates_for
from organism.router.planning.plan import Route
from organism.router.prepared_call import PreparedCall
from organism.text.error_text import describe, shown
from organism.usage.attempts import Outcome

_DOUBTFUL_FACTOR = 16
_DOUBTFUL_NANOUSD = 10_000_000_000
"""Usage above 16 times its hold and above $10 is taken for a provider's mistake and disputed, not believed."""


PINGED_FACTOR = 6
"""So many times as long a provider may be silent that says all the while that it is at work."""

_NOTE_MAX = 500

PROVIDER_SAYS = "provider"
"""The source of a cost that the provider itself has reported."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt is resolved.

    Attributes:
        outcome: By what.
        usage: Tokens charged.
        cost_nanousd: Money charged; ``None`` when no price is known.
        price_source: Where the cost comes from; ``None`` when it is unknown.
        response_model: The model that answered, if one did.
        error: What failed.
        rates: The prices the cost was computed with; ``None`` when the whole hold is charged.
        usage_note: How the provider's count was read where that was not plain.
    """

    outcome: Outcome
    usage: TokenUsage = TokenUsage()
    cost_nanousd: int | None = None
    price_source: str | None = None
    response_model: str | None = None
    error: str | None = None
    rates: Rates | None = None
    usage_note: str = ""

    @property
    def amounts(self) -> Amounts:
        """What the ledger is charged."""
        return Amounts(self.usage.total, self.cost_nanousd or 0, 1)

    @property
    def cost(self) -> Cost:
        """Where these numbers come from, for the ledger."""
        return Cost(self.outcome, self.cost_nanousd is not None, self.usage, self.rates)


class Attempt(msgspec.Struct, kw_only=True, eq=False):
    """One attempt while it runs.

    Attributes:
        prepared: Where it goes, and what was worked out about it.
        request: What is sent, with the granted output cap.
        held: Its hold.
        permit: Its way through the provider's gate.
        is_hedge: Whether it was made beside a slow one.
        timeout_s: Seconds until it is given up, if its answer comes whole.
        stream_timeout_s: Seconds until it is given up, if its answer is streamed: as long as it goes on, unless said.
        first_token_s: Seconds until a streamed answer must show a sign of life; ``None`` for no such limit.
        between_tokens_s: Seconds it may be silent after that, likewise.
        deadline_s: When its call must be over, on the event loop's clock.
        started_ns: When it was let out, on the monotonic clock; negative before that.
        on_text: Where pieces of the answer go.
        scope: Ends the exchange with the provider; no cancellation from outside does.
        done: Set once its caller need not wait any more: it is resolved, or the caller's own ``on_text`` has failed.
        result: The answer, or why there is none.
        abandoned: Whether its caller has gone.
        cut_short: What has come, where the provider stops working when its stream is closed.
        listener_error: What ``on_text`` has failed with: the caller's own error, and none of the provider's.
        frozen: Why it was closed in the middle by an operator's freeze, if it was.
    """

    prepared: PreparedCall
    request: Request
    held: HeldCall
    permit: Permit
    timeout_s: float
    stream_timeout_s: float = math.inf
    first_token_s: float | None = None
    between_tokens_s: float | None = None
    deadline_s: float = math.inf
    is_hedge: bool = False
    started_ns: int = -1
    on_text: DeltaSink | None = None
    scope: anyio.CancelScope = msgspec.field(default_factory=lambda: anyio.CancelScope(shield=True))
    done: anyio.Event = msgspec.field(default_factory=anyio.Event)
    result: Answer | ProviderError | None = None
    abandoned: bool = False
    listener_error: BaseException | None = None
    cut_short: InterruptedStream | None = None
    frozen: Refusal | None = None
    _begun_s: float = 0.0
    _closed_after_s: float | None = None
    _latest: float = math.inf
    _heard: bool = False
    _word_s: float = 0.0
    _over: bool = False
    _thread: int = 0

    @property
    def route(self) -> Route:
        """Where it goes."""
        return self.prepared.route

    @property
    def record(self) -> CallRecord:
        """Which call it is for."""
        return self.prepared.record

    @property
    def rates(self) -> Rates | None:
        """The model's usual prices; ``None`` when unknown."""
        return self.prepared.rates

    def grant(self, held: HeldCall) -> None:
        """Go with another hold than before, and ask for as much as it covers."""
        self.held = held
        self.request = self.request.granted(self.route.model, held.output_cap)

    def drain(self, within_s: float) -> None:
        """Let go of the caller: read on silently for the real usage, but not for long.

        Where what has come tells what was billed, and closing the stream ends the bill, it is closed at once.
        """
        self.on_text = None
        self.abandoned = True
        if self.cut_short is not None and self.cut_short.is_countable:
            self._closed_after_s, within_s = anyio.current_time() - self._begun_s, 0.0
        self._latest = min(self._latest, anyio.current_time() + within_s)
        self.scope.deadline = min(self.scope.deadline, self._latest)

    def freeze(self, why: Refusal) -> bool:
        """Close it in the middle, as if its caller had gone; whether it has left and was not over."""
        if self.started_ns < 0 or self.done.is_set():
            return False
        self.frozen = why
        self.drain(0.0)
        return True

    @property
    def ended(self) -> Answer | ProviderError:
        """How it ended, once it has.

        Raises:
            BudgetExhaustedError: An operator's freeze has closed it: what waited for it waits on, and asks again.
        """
        if self.frozen is not None and not isinstance(self.result, Answer):
            raise BudgetExhaustedError(self.frozen, self.record.thread_id)
        return self.result or UncertainError(self.route.provider, "the exchange was cut off")

    def pass_on(self, piece: ProviderPiece) -> None:
        """Take a piece of the answer, which is a sign of life, and hand it to whoever still listens.

        Raises:
            TypeError: To the adapter, which has handed over something else than a piece of an answer.
            RuntimeError: To the adapter, which calls from a thread where nothing of ours may be touched.
        """
        piece = checked_piece(piece)
        if get_ident() != self._thread:
            raise RuntimeError("on_text must be called in the event loop's own thread")
        if self._over:
            return
        if isinstance(piece, Ping):
            self._wait_on()
            return
        if self.cut_short is not None:
            self.cut_short.add(piece)
        if isinstance(piece, UsageDelta):
            return
        self._heard = True
        self._allow(self.between_tokens_s)
        if self.on_text is not None:
            self.listener_error = failure_of(self.on_text, piece)
            if self.listener_error is not None:
                self.on_text = None
                self.done.set()

    def _allow(self, silence_s: float | None) -> None:
        self._word_s = anyio.current_time()
        self.scope.deadline = min(self._latest, math.inf if silence_s is None else self._word_s + silence_s)

    def _wait_on(self) -> None:
        """Wait longer for a provider that says it is at work: not for ever, for a relay may say so of a dead one."""
        silence_s = self.between_tokens_s if self._heard else self.first_token_s
        if silence_s is not None:
            until = min(anyio.current_time() + silence_s, self._word_s + PINGED_FACTOR * silence_s)
            self.scope.deadline = max(self.scope.deadline, min(self._latest, until))

    async def exchange(self, provider: Provider, adapters: Adapters) -> None:
        """Talk to the provider and set :attr:`result`; an exchange whose task is killed leaves it ``None``.

        Args:
            provider: Whom to ask.
            adapters: Where its adapter runs, and stays if it does not end in time.
        """
        self._begun_s = begun_s = anyio.current_time()
        self._thread = get_ident()
        sink = self.pass_on if self.on_text is not None else None
        if sink is not None and stops_when_closed(provider):
            self.cut_short = InterruptedStream(self.request)
        longest_s = self.timeout_s if sink is None else self.stream_timeout_s
        self._latest = min(self._latest, begun_s + longest_s, self.deadline_s)
        self._allow(self.first_token_s if sink is not None else None)
        work = adapters.start(self.route.provider, partial(self._ask, provider, sink))
        with self.scope:
            await work.wait()
        in_time = work.done
        if not in_time:
            await work.stop()
        self._over = True
        self.result = self._result_of(work, self._what_was_late(begun_s) if not in_time else None)

    def _ask(self, provider: Provider, sink: ProviderSink | None) -> Awaitable[Answer]:
        if isinstance(self.request, EmbeddingRequest):
            return provider.embed(self.request)
        return provider.complete(self.request, sink)

    def _result_of(self, work: ForeignTask, late: str | None) -> Answer | ProviderError:
        """Return what came of the adapter's work.

        Args:
            work: The work.
            late: What it was late with, if its time was up before it had ended.
        """
        if late is not None and (not work.done or isinstance(work.error, anyio.get_cancelled_exc_class())):
            return UncertainError(self.route.provider, late)
        if work.error is not None:
            return checked_failure(work.error, self.route.provider)
        try:
            return checked_answer(work.value, self.request, self.route.provider)
        except UncertainError as error:
            return error

    def _what_was_late(self, begun_s: float) -> str:
        now_s = anyio.current_time()
        if now_s >= self._latest:
            return "abandoned by its caller" if self.abandoned else f"no answer within {now_s - begun_s:.3g} s"
        if self._heard:
            return f"silent for {self.between_tokens_s:g} s in the middle of the answer"
        return f"no sign of an answer within {self.first_token_s:g} s"

    @property
    def listener_failure(self) -> Exception:
        """What its caller is told of its own ``on_text``; an order to end, raised there, is no order to its caller."""
        error = self.listener_error
        return error if isinstance(error, Exception) else RuntimeError(f"on_text failed: {shown(error)}")

    @property
    def health(self) -> Health:
        """What the attempt says of its provider: refusing a request is an answer, even if the answer is "not now"."""
        match self.result:
            case Completion() | Embeddings():
                return "answered"
            case RejectedError(again=again, meaning=meaning):
                return "failed" if again and meaning != "rate" else "answered"
            case ProviderError() if not self.abandoned:
                return "failed"
            case _:
                return "unknown"

    def charge(self, prices: RateSource) -> Charge:
        """Decide what the attempt costs; the table of outcomes of the guarantees page.

        Args:
            prices: Those of the model that answered, which may not be the one asked.
        """
        match self.result:
            case RejectedError() as error:
                return Charge(outcome="released", error=str(error))
            case Completion() | Embeddings() as answer:
                try:
                    return self._charge_answer(answer, prices)
                except Exception as error:  # noqa: BLE001 - whatever is odd about an answer, its hold covers it
                    return self._whole_hold("disputed", f"its cost cannot be worked out: {describe(error)}")
            case ProviderError() as error:
                return (
                    self._charge_cut()
                    if self._closed_after_s is not None
                    else self._whole_hold("worst_case", str(error))
                )
            case None:
                return self._whole_hold("worst_case", "the exchange was cut off")

    def _charge_cut(self) -> Charge:
        """Charge what has come of an answer that was closed when its caller went."""
        if self.cut_short is None or self._closed_after_s is None:
            raise AssertionError("nothing is closed that cannot be counted")
        usage = self.cut_short.usage(self.record.input_tokens, self.held.output_cap, self._closed_after_s)
        # How often tools of the vendor's were used is told at the end alone: as often as they might be.
        rates = held_rates(self.rates, self.request) if self.rates is not None else None
        return Charge(
            outcome="estimated",
            usage=usage,
            cost_nanousd=cost_nanousd(rates, usage) if rates is not None else None,
            price_source=rates.source if rates is not None else None,
            error="closed by its caller in the middle of the answer",
            rates=rates,
        )

    def _charge_answer(self, answer: Answer, prices: RateSource) -> Charge:
        if answer.usage_error is not None:
            return self._whole_hold("disputed", answer.usage_error, answer.model)
        missing = missing_sides(answer, self.request)
        if answer.usage is None and is_hidden(answer, self.request):
            return self._whole_hold("estimated", "no usage, and more may have been generated than shows", answer.model)
        rates = self._rates_of_answer(answer, prices)
        if rates is not None:
            rates = charged_rates(rates, self.request, answer)
        usage = completed_usage(answer, self.request, missing, self.record.input_tokens, self.held.output_cap)
        cost, source = (cost_nanousd(rates, usage), rates.source) if rates is not None else (None, None)
        is_bill = not missing and not (isinstance(answer, Completion) and answer.is_cost_assumed)
        if answer.cost_nanousd is not None and (is_bill or answer.cost_nanousd > (cost or 0)):
            cost, source, rates = answer.cost_nanousd, PROVIDER_SAYS, None
        if cost is not None and self._beyond_belief(usage, cost):
            return self._whole_hold("disputed", f"usage of {usage.total} tokens is beyond belief", answer.model)
        return Charge(
            outcome="estimated" if missing else "settled",
            usage=usage,
            cost_nanousd=cost,
            price_source=source,
            response_model=answer.model,
            rates=rates,
            usage_note=answer.usage_note[:_NOTE_MAX] if isinstance(answer, Completion) else "",
        )

    def _rates_of_answer(self, answer: Answer, prices: RateSource) -> Rates | None:
        """Return the prices of the model that answered; if nobody knows them, those of the model that was asked."""
        if answer.model == self.request.model:
            return self.rates
        found = rates_for(prices, self.route.provider, answer.model, self.request)
        return found if found is not None and not found.assumed else self.rates or found

    def _beyond_belief(self, usage: TokenUsage, cost: int) -> bool:
        held = self.held.amounts
        much = usage.total > _DOUBTFUL_FACTOR * max(1, held.tokens)
        dear = self.rates is not None and cost > _DOUBTFUL_FACTOR * max(1, held.cost_nanousd)
        return cost > CALL_NANOUSD_MAX or (cost > _DOUBTFUL_NANOUSD and (much or dear))

    def _whole_hold(self, outcome: Outcome, error: str, response_model: str | None = None) -> Charge:
        return Charge(
            outcome=outcome,
            usage=TokenUsage(input=self.record.input_tokens, output=self.held.output_cap),
            cost_nanousd=self.held.amounts.cost_nanousd if self.rates is not None else None,
            price_source=self.rates.source if self.rates is not None else None,
            response_model=response_model,
            error=error,
        )
