"""One attempt at a model call: from the mark that it leaves to the entry that resolves its hold.

An attempt runs in a task of the router's own, not of its caller. So nothing that happens to the caller (a deadline,
a terminated thread, a second cancellation in the same breath) can keep the real usage out of the ledger: a cancelled
caller goes at once, and the attempt reads on for a bounded time before the whole hold is charged.

The adapter runs in a task of its own again, because it is a stranger's: when its time is up the attempt is resolved,
whether the adapter lets itself be cancelled or not.
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
    """An answer's stream has been closed in the middle.

    Attributes:
        by: What has ended it: its caller has gone, or it has passed its hold.
        after_s: Seconds from the request until then.
    """

    by: Literal["caller", "hold"]
    after_s: float


class Attempt(msgspec.Struct, kw_only=True, eq=False):
    """One attempt while it runs.

    Attributes:
        prepared: Where it goes, and what was worked out about it.
        request: What is sent, with the granted output cap.
        held: Its hold.
        permit: Its right to go to the provider, given back when it is settled.
        is_hedge: Whether it was made beside a slow one.
        patience: When it is given up.
        started_ns: When it was let out, on the monotonic clock; negative before that.
        on_text: Where pieces of the answer go.
        done: Set once its caller need not wait any more: it is resolved, or the caller's own ``on_text`` has failed.
        result: The answer, or why there is none.
        abandoned: Whether its caller has gone.
        streams: Whether the answer is streamed although nobody reads it, so that it can be stopped at its hold.
        stops_at_cap: Whether a stream is closed that passes its hold; not where limits are only watched.
        streamed: What has come of a streamed answer.
        listener_error: What ``on_text`` has failed with: the caller's own error, and none of the provider's.
        closed_by_freeze: Why it was closed in the middle by an operator's freeze, if it was.
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
    """What runs it, once it has left; asyncio alone keeps no task alive."""

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

    def grant(self, held: GrantedHold) -> None:
        """Go with another hold than before, and ask for as much as it covers."""
        self.held = held
        self.request = self.request.granted(self.route.model, held.output_cap)

    def begin(self, exchange: Callable[[], Awaitable[None]], end: Callable[[], None]) -> None:
        """Run it in a task of its own.

        A bare one: who closes its thread waits for its end, and a task group's costs five times. Nothing of ours
        cancels it. A stranger may, who cancels every task that he finds; before its first step, that step never comes.

        Args:
            exchange: Talks to the provider.
            end: Settles what has come of it.
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
        """Say that it was ended before its adapter's first step: nothing has been sent."""
        return RejectedError(self.route.provider, f"not asked: {why}")

    def drain(self, within_s: float) -> None:
        """Let go of the caller: read on silently for the real usage, but not for long.

        Where what has come tells what was billed, and closing the stream ends the bill, it is closed at once.
        """
        self.on_text = None
        self.abandoned = True
        self.patience.end_within(within_s)
        self._close_if_due()

    def freeze(self, why: Refusal) -> bool:
        """Close it in the middle, as if its caller had gone; whether it has left and was not over."""
        # What has not left has nothing to close: it is refused where it looks before it leaves.
        if self.started_ns < 0 or self.done.is_set():
            return False
        self.closed_by_freeze = why
        self.drain(0.0)
        return True

    @property
    def ended(self) -> Answer | ProviderError:
        """How it ended, once it has.

        Raises:
            BudgetExhaustedError: An operator's freeze has closed it: what waited for it waits on, and asks again.
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
        """Take a piece of the answer, which is a sign of life, and hand it to a caller that still listens.

        Raises:
            TypeError: To the adapter, which has handed over something else than a piece of an answer.
            RuntimeError: To the adapter, which calls from a thread where nothing of ours may be touched.
        """
        piece = checked_piece(piece)
        # An adapter may call from a thread of its own; the scope and the event below belong to the loop, and setting
        # them from there would lose the wake-up.
        if get_ident() != self._thread:
            raise RuntimeError("on_text must be called in the event loop's own thread")
        # A straggler of an exchange that was given up: the charge is decided, and a deadline set now would be nobody's.
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
        # Caught here, not in the adapter: raised through it, our caller's bug would end the exchange and hide its
        # usage.
        self.listener_error = failure_of(self.on_text, piece)
        if self.listener_error is not None:
            self.on_text = None
            self.done.set()

    async def exchange(self, provider: Provider, adapters: Adapters, range_of: RangeOf) -> None:
        """Talk to the provider and set :attr:`result`; an exchange whose task is killed leaves it ``None``.

        Args:
            adapters: Where its adapter runs, and stays if it does not end in time.
            range_of: What text takes with the model that answers.
        """
        self._thread = get_ident()
        is_read = self.on_text is not None
        sink = self.pass_on if is_read or self.streams else None
        if sink is not None:
            self.streamed = StreamedAnswer(self.request, range_of)
            self._stops_when_closed = stops_when_closed(provider)
        self.patience.begin(is_read=is_read)
        work = adapters.start(self.route.provider, partial(self._ask, provider, sink))
        # Cuts short the wait, not the adapter's task: that is foreign code, which is stopped below with a limit of its
        # own.
        try:
            in_time = await work.wait_until(self.patience.until)
            if not in_time:
                await work.stop()
        except BaseException:  # a stranger has cancelled this task: its adapter works on for nobody
            self._over = True
            await work.stop()
            raise
        # Before the result is read, with no await in between: a piece that came later would change what was charged.
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
        """Return what came of the adapter's work; of a stream that was closed at its hold, what had come until then.

        Args:
            late: What it was late with, if its time was up before it had ended.
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
        # An answer that came in the instant in which its time was up is an answer: it is billed.
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
        """What a failure of ``on_text`` gives its caller; an order to end, raised there, is no order to the caller."""
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
        """Decide what the attempt costs.

        Args:
            prices: Those of the model that answered, which may not be the one asked.
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
    """The attempts under way, by thread; a budget is closed when none of its thread is left."""

    def __init__(self) -> None:
        self._by_thread: dict[str, set[Attempt]] = {}
        self._idle: dict[str, asyncio.Event] = {}

    def __iter__(self) -> Iterator[Attempt]:
        return (attempt for attempts in self._by_thread.values() for attempt in attempts)

    @property
    def threads(self) -> tuple[str, ...]:
        """The threads that have any."""
        return tuple(self._by_thread)

    def busy(self, thread_id: str) -> bool:
        """Whether a thread has any."""
        return thread_id in self._by_thread

    def of(self, thread_id: str) -> tuple[Attempt, ...]:
        """Return those of one thread."""
        return tuple(self._by_thread.get(thread_id, ()))

    def add(self, attempt: Attempt) -> None:
        """Know an attempt, from before it waits for its turn."""
        self._by_thread.setdefault(attempt.record.thread_id, set()).add(attempt)

    def remove(self, attempt: Attempt) -> None:
        """Forget an attempt that is settled, or that never left; wake those that waited for the last of its thread."""
        attempts = self._by_thread[thread_id := attempt.record.thread_id]
        attempts.discard(attempt)
        if not attempts:
            del self._by_thread[thread_id]
            if (idle := self._idle.pop(thread_id, None)) is not None:
                idle.set()

    async def wait_idle(self, thread_id: str) -> None:
        """Return when a thread has none any more: another may have begun while the last one ended."""
        while thread_id in self._by_thread:
            await self._idle.setdefault(thread_id, asyncio.Event()).wait()
