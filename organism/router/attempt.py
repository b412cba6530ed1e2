"""One attempt at a model call: from its dispatch to the entry that resolves its hold.

An attempt runs in a task of the router, not of its caller. So nothing that happens to the caller (a deadline, a
terminated thread, a second cancellation at the same time) can keep the real usage out of the ledger: a cancelled caller
leaves at once, and the attempt reads on for a bounded time before the whole hold is charged.

The adapter runs in yet another task, because it is foreign code: at its deadline the attempt is resolved, whether the
adapter obeys its cancellation or not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from threading import get_ident
from typing import Literal

import anyio
import msgspec
from msgspec.structs import replace

from organism.budget.holds import GrantedHold
from organism.concurrency.foreign_code import ForeignTask, failure_of
from organism.concurrency.safe_log import safe_logger
from organism.errors import BudgetExhaustedError, ProviderError, Refusal, RejectedError, UncertainError
from organism.ledger.entries import CallRecord
from organism.llm.answers import Completion
from organism.llm.deltas import (
    Delta,
    DeltaSink,
    Ping,
    ProviderPiece,
    ProviderSink,
    ServerToolUse,
    StreamEnd,
    Unshown,
    UsageDelta,
)
from organism.llm.embeddings import EmbeddingRequest, Embeddings
from organism.llm.provider import Answer, Provider, Request
from organism.pricing.rates import Rates
from organism.router.adapters import Adapters, stops_when_closed
from organism.router.answers.answer_checks import checked_answer, checked_failure
from organism.router.answers.charge import Charge, Charges
from organism.router.answers.output_count import RangeOf
from organism.router.answers.piece_checks import checked_piece
from organism.router.answers.streamed_answer import StreamedAnswer
from organism.router.limits.circuit import Health
from organism.router.limits.limiter import Permit
from organism.router.limits.patience import Patience
from organism.router.planning.call_rates import RateSource
from organism.router.planning.plan import Route
from organism.router.prepared_call import PreparedCall
from organism.text.error_text import describe, shown

_CANCELLED = "its task was cancelled"

_log = safe_logger("organism.router")


class Closed(msgspec.Struct, frozen=True):
    """The closing of a stream in the middle of an answer.

    Attributes:
        by: The reason: its caller has gone, or it has passed its hold.
        after_s: Seconds from the request until then.
    """

    by: Literal["caller", "hold"]
    after_s: float


class Attempt(msgspec.Struct, kw_only=True, eq=False):
    """One attempt while it runs.

    Attributes:
        prepared: Its route, worst case and record.
        request: The request as sent, with the granted output cap.
        held: Its hold.
        permit: Its permit for the provider, given back when it is settled.
        is_hedge: Whether it is a hedge of a slow one.
        patience: Its timeouts.
        started_ns: When it was dispatched, on the monotonic clock; negative before that.
        on_text: Takes pieces of the answer.
        done: Set when its caller need not wait any longer: it is resolved, or the caller's ``on_text`` has failed.
        result: The answer, or why there is none.
        abandoned: Whether its caller has gone.
        streams: Whether the answer is streamed although nobody reads it, so that it can be stopped at its hold.
        stops_at_cap: Whether its stream is closed when it passes its hold; not where limits are only watched.
        streamed: What has come of a streamed answer.
        listener_error: What ``on_text`` has raised: the caller's error, not the provider's.
        closed_by_freeze: The operator's freeze that closed it in the middle, if one did.
    """

    prepared: PreparedCall
    request: Request
    held: GrantedHold
    permit: Permit
    patience: Patience
    is_hedge: bool = False
    started_ns: int = -1
    on_text: DeltaSink | None = None
    done: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    result: Answer | ProviderError | None = None
    abandoned: bool = False
    listener_error: BaseException | None = None
    streams: bool = False
    stops_at_cap: bool = False
    streamed: StreamedAnswer | None = None
    closed_by_freeze: Refusal | None = None
    _stops_when_closed: bool = False
    _closed: Closed | None = None
    _is_asked: bool = False
    _is_answered: bool = False
    _over: bool = False
    _thread: int = 0
    _task: asyncio.Task[None] | None = None
    """Its task, once dispatched; asyncio keeps only weak references to tasks."""

    @property
    def route(self) -> Route:
        """Its route."""
        return self.prepared.route

    @property
    def record(self) -> CallRecord:
        """Its record for the ledger."""
        return self.prepared.record

    @property
    def rates(self) -> Rates | None:
        """The model's usual prices; ``None`` when unknown."""
        return self.prepared.rates

    def grant(self, held: GrantedHold) -> None:
        """Replace its hold, and set the request's output cap to what the new one covers."""
        self.held = held
        self.request = self.request.granted(self.route.model, held.output_cap)

    def begin(self, exchange: Callable[[], Awaitable[None]], end: Callable[[], None]) -> None:
        """Run it in a task of its own.

        A bare task: closing the thread waits for its end, and a task group costs five times as much. Nothing of ours
        cancels it. Foreign code that cancels every task it finds may, even before its first step.

        Args:
            exchange: Makes the exchange with the provider.
            end: Settles its outcome.
        """

        def look(_task: object) -> None:
            if not (self.done.is_set() or self._is_asked):
                self.result = self._not_asked(_CANCELLED)
                end()

        self._task = asyncio.get_running_loop().create_task(self._perform(exchange, end), name="attempt")
        self._task.add_done_callback(look)

    async def _perform(self, exchange: Callable[[], Awaitable[None]], end: Callable[[], None]) -> None:
        try:
            await exchange()
        except BaseException as error:  # noqa: BLE001 - of an exchange that was killed, too, somebody waits for the end
            _log.error("exchange_cut_off", provider=self.route.provider, error=describe(error))
            if not self._is_asked:
                self.result = self._not_asked(_CANCELLED)
        end()

    def _not_asked(self, why: str) -> RejectedError:
        """Return the error of an attempt that ended before its adapter's first step: nothing was sent."""
        return RejectedError(self.route.provider, f"not asked: {why}")

    def drain(self, within_s: float) -> None:
        """Detach from the caller: read on for the real usage, for a bounded time.

        If closing the stream ends the bill, and the charge can be determined from what has come, it is closed at once.
        """
        self.on_text = None
        self.abandoned = True
        self.patience.end_within(within_s)
        self._close_if_due()

    def freeze(self, why: Refusal) -> bool:
        """Close it in the middle, as if its caller had gone; return whether it was under way."""
        # One that is not dispatched has nothing to close: it is refused before its dispatch.
        if self.started_ns < 0 or self.done.is_set():
            return False
        self.closed_by_freeze = why
        self.drain(0.0)
        return True

    @property
    def ended(self) -> Answer | ProviderError:
        """Its outcome, once it has ended.

        Raises:
            BudgetExhaustedError: An operator's freeze has closed it; its message waits, and the call is made again.
        """
        if self.closed_by_freeze is not None and not isinstance(self.result, Answer):
            raise BudgetExhaustedError(self.closed_by_freeze, self.record.thread_id)
        return self.result or UncertainError(self.route.provider, "the exchange was cut off")

    def _close_if_due(self) -> None:
        """Close the stream if it has passed its hold, or its caller has gone and closing it ends the bill."""
        streamed = self.streamed
        if streamed is None or self._closed is not None:
            return
        if self.stops_at_cap and streamed.passes(self.held.output_cap):
            self._close("hold")
        elif self.abandoned and self._stops_when_closed and streamed.is_countable:
            self._close("caller")

    def _close(self, by: Literal["caller", "hold"]) -> None:
        self._closed = Closed(by, self.patience.elapsed_s)
        self.patience.end_now()

    def pass_on(self, piece: ProviderPiece) -> None:
        """Take a piece of the answer, a sign of life, and hand it to the caller if it still listens.

        Raises:
            TypeError: To the adapter, if the object is not a piece of an answer.
            RuntimeError: To the adapter, if it calls from another thread than the event loop's.
        """
        piece = checked_piece(piece)
        # The scope and the event below belong to the event loop; setting them from another thread would lose the
        # wake-up.
        if get_ident() != self._thread:
            raise RuntimeError("on_text must be called in the event loop's own thread")
        # A late piece of an abandoned exchange: the charge is decided, and nobody would see a new deadline.
        if self._over:
            return
        if isinstance(piece, Ping):
            self.patience.on_ping()
            return
        if self.streamed is not None:
            self.streamed.add(piece)
        if not isinstance(piece, UsageDelta | StreamEnd):
            self.patience.on_piece()
            if self._closed is None:
                self._tell("" if isinstance(piece, Unshown | ServerToolUse) else piece)
        self._close_if_due()

    def _tell(self, piece: Delta) -> None:
        if self.on_text is None:
            return
        # Caught here: raised through the adapter, the caller's bug would end the exchange and hide its usage.
        self.listener_error = failure_of(self.on_text, piece)
        if self.listener_error is not None:
            self.on_text = None
            self.done.set()

    async def exchange(self, provider: Provider, adapters: Adapters, range_of: RangeOf) -> None:
        """Make the exchange with the provider and set :attr:`result`; it stays ``None`` if the task is cancelled.

        Args:
            adapters: Runs the adapter, and keeps it if it does not end in time.
            range_of: Returns how many tokens text takes with the model.
        """
        self._thread = get_ident()
        is_read = self.on_text is not None
        sink = self.pass_on if is_read or self.streams else None
        if sink is not None:
            self.streamed = StreamedAnswer(self.request, range_of)
            self._stops_when_closed = stops_when_closed(provider)
        self.patience.begin(is_read=is_read)
        work = adapters.start(self.route.provider, partial(self._ask, provider, sink))
        # Bounds the wait, not the adapter's task: that is foreign code, which is stopped below within its own limit.
        try:
            in_time = await work.wait_until(self.patience.until)
            if not in_time:
                await work.stop()
        except BaseException:  # foreign code has cancelled this task: nobody waits for its adapter
            self._over = True
            await work.stop()
            raise
        # Before the result is read, with no await in between: a later piece would change what is charged.
        self._over = True
        result = self._result_of(work, None if in_time else self.patience.what_was_late(abandoned=self.abandoned))
        if isinstance(result, Completion) and self.prepared.last is not None:
            result = replace(result, is_last_word=True)
        self.result = result

    def _ask(self, provider: Provider, sink: ProviderSink | None) -> Awaitable[Answer]:
        self._is_asked = True
        if isinstance(self.request, EmbeddingRequest):
            return provider.embed(self.request)
        return provider.complete(self.request, sink)

    def _result_of(self, work: ForeignTask, late: str | None) -> Answer | ProviderError:
        """Return the adapter's result; for a stream that was closed at its hold, what has come of it.

        Args:
            late: What timed out, if anything did.
        """
        result = self._ended(work, late)
        self._is_answered = isinstance(result, Answer)
        closed, streamed = self._closed, self.streamed
        if self._is_answered or streamed is None or closed is None or closed.by != "hold":
            return result
        return streamed.completion()

    def _ended(self, work: ForeignTask, late: str | None) -> Answer | ProviderError:
        if not self._is_asked:
            return self._not_asked(late or _CANCELLED)
        # An answer that came at the very instant of its timeout is an answer: it is billed.
        if late is not None and (not work.done or isinstance(work.error, anyio.get_cancelled_exc_class())):
            return UncertainError(self.route.provider, late)
        if work.error is not None:
            return checked_failure(work.error, self.route.provider)
        try:
            return checked_answer(work.value, self.request, self.route.provider)
        except UncertainError as error:
            return error

    @property
    def listener_failure(self) -> Exception:
        """The error for the caller whose ``on_text`` failed; a ``BaseException`` such as ``SystemExit`` is wrapped."""
        error = self.listener_error
        return error if isinstance(error, Exception) else RuntimeError(f"on_text failed: {shown(error)}")

    @property
    def health(self) -> Health:
        """What the attempt says of its provider: refusing a request is an answer, even if the answer is "not now"."""
        match self.result:
            case _ if not self._is_asked:
                return "unknown"
            case Completion() | Embeddings():
                return "answered"
            case RejectedError(again=again, meaning=meaning):
                return "failed" if again and meaning != "rate" else "answered"
            case ProviderError() if not self.abandoned:
                return "failed"
            case _:
                return "unknown"

    def charge(self, prices: RateSource) -> Charge:
        """Return what the attempt costs.

        Args:
            prices: The prices, by model: another one than asked may have answered.
        """
        charges = Charges(self.prepared, self.request, self.held)
        if self._closed is not None and self.streamed is not None and not self._is_answered:
            return charges.cut(self.streamed, self._closed.after_s, by_caller=self._closed.by == "caller")
        match self.result:
            case RejectedError() as error:
                return Charge(outcome="released", error=str(error))
            case Completion() | Embeddings() as answer:
                return charges.answer(answer, prices)
            case UncertainError(counted=Completion() as answer) as error:
                return charges.failed(answer, prices, error)
            case ProviderError() as error:
                return charges.whole_hold("worst_case", str(error))
            case None:
                return charges.whole_hold("worst_case", "the exchange was cut off")


class OpenAttempts:
    """The open attempts by thread; a budget is closed when its thread has none left."""

    def __init__(self) -> None:
        self._by_thread: dict[str, set[Attempt]] = {}
        self._idle: dict[str, asyncio.Event] = {}

    def __iter__(self) -> Iterator[Attempt]:
        return (attempt for attempts in self._by_thread.values() for attempt in attempts)

    @property
    def threads(self) -> tuple[str, ...]:
        """The threads with open attempts."""
        return tuple(self._by_thread)

    def busy(self, thread_id: str) -> bool:
        """Whether a thread has open attempts."""
        return thread_id in self._by_thread

    def of(self, thread_id: str) -> tuple[Attempt, ...]:
        """Return the open attempts of a thread."""
        return tuple(self._by_thread.get(thread_id, ()))

    def add(self, attempt: Attempt) -> None:
        """Add an attempt, before it waits for its permit."""
        self._by_thread.setdefault(attempt.record.thread_id, set()).add(attempt)

    def remove(self, attempt: Attempt) -> None:
        """Remove an attempt that is settled or was never dispatched; wake those who wait for an idle thread."""
        attempts = self._by_thread[thread_id := attempt.record.thread_id]
        attempts.discard(attempt)
        if not attempts:
            del self._by_thread[thread_id]
            if (idle := self._idle.pop(thread_id, None)) is not None:
                idle.set()

    async def wait_idle(self, thread_id: str) -> None:
        """Wait until a thread has no open attempts; another may begin while the last one ends."""
        while thread_id in self._by_thread:
            await self._idle.setdefault(thread_id, asyncio.Event()).wait()
