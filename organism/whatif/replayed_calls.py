"""The calls of a replay: each is admitted, refused or left to wait, and charged, as it would have been. Pure."""

from collections import deque
from collections.abc import Iterable

import msgspec

from organism.amounts import NS_PER_S, ZERO
from organism.amounts.units import amount_of, limit_of
from organism.budget.holds import GrantedHold
from organism.errors import Refusal
from organism.ledger.ledger import Cost
from organism.messages import BudgetWarning
from organism.whatif.changes import Baseline
from organism.whatif.outcome import Crossing, ReplayedCall, Stop
from organism.whatif.recording import RecordedCall
from organism.whatif.repricing import charge_of, target_of
from organism.whatif.simulation import Placed, Simulation


class _Held(msgspec.Struct):
    """A call that is made."""

    grant: GrantedHold
    placed: Placed


class _Waiting(msgspec.Struct):
    """A call in line.

    Attributes:
        until_ns: When it is refused.
        ended: Whether the record has come to its end meanwhile, so that it is over as soon as it is made.
    """

    recorded: RecordedCall
    until_ns: int
    ended: bool = False


class ReplayedCalls:
    """Decides the recorded calls one by one.

    Args:
        baseline: How the organism is set up.

    Attributes:
        views: Each call as it was and as it would have been, by hold.
        crossings: The thresholds that they cross.
        stop: The first refusal that stands; no call is made after it.
    """

    def __init__(self, simulation: Simulation, baseline: Baseline) -> None:
        self.views: dict[str, ReplayedCall] = {}
        self.crossings: list[Crossing] = []
        self.stop: Stop | None = None
        self._simulation = simulation
        self._book = simulation.book
        self._warnings = self._book.warnings
        self._clock = simulation.clock
        self._ledger = simulation.ledger
        self._engine = simulation.engine
        self._baseline = baseline
        self._held: dict[str, _Held] = {}
        self._line: deque[_Waiting] = deque()
        self._at_an_end: set[tuple[str, str, str]] = set()

    def take(self, recorded: RecordedCall) -> None:
        """Decide about a call at the instant of its hold.

        Raises:
            ConfigError: If the model or the price that it is to have is not known.
        """
        self.views[recorded.hold_id] = _view(recorded)
        if _message(recorded) in self._at_an_end and not recorded.call.tool:
            return  # its loop has given its last word, so this round does not come
        waits = self._line and recorded.call.operation != "charge"  # what has happened waits for nobody
        if self.stop is None and (waits or not self._admit(recorded)):
            until_ns = self._clock.now_ns() + int(self._baseline.wait_s * NS_PER_S)
            self._line.append(_Waiting(recorded, until_ns))
            self.views[recorded.hold_id].fate = "waiting"

    def end(self, recorded: RecordedCall) -> None:
        """Charge a call, or give its hold back, at the instant at which that was recorded."""
        if (held := self._held.pop(recorded.hold_id, None)) is not None:
            self._resolve(recorded, held)
            self.serve()
        for waiting in self._line:
            waiting.ended |= waiting.recorded is recorded

    def serve(self) -> None:
        """Let those in line go whom nothing keeps out any more, in the order in which they came."""
        while self._line and self.stop is None:
            first = self._line.popleft()
            if not self._admit(first.recorded, at_last=self._clock.now_ns() > first.until_ns):
                self._line.appendleft(first)
                return
            if first.ended:
                self.end(first.recorded)

    def finish(self, accounts: Iterable[str]) -> None:
        """Refuse who still waits for one of these accounts, because it is being closed."""
        names = set(accounts)
        while self._line and self.stop is None and not names.isdisjoint(self._line[0].recorded.accounts):
            first = self._line.popleft()
            self._admit(first.recorded, at_last=True)
            if first.ended:
                self.end(first.recorded)

    def warn(self, warnings: Iterable[BudgetWarning], number: int = 0) -> None:
        """Note the thresholds that a call has crossed, or with no number a change of limits."""
        self.crossings.extend(Crossing(number, warning) for warning in warnings)

    def warn_refused(self, shortfall: Refusal) -> None:
        """Note the warnings of a call of which nothing but its refusal was recorded, if it does not fit here either."""
        if self.stop is not None or not self._ledger.has(shortfall.account):
            return
        state = self._book.state(shortfall.account)
        limit = limit_of(state.limits, shortfall.dimension)
        spent = amount_of(state.spent, shortfall.dimension, state.elapsed_ns)
        if limit and shortfall.needed > limit - shortfall.final_reserve - spent:
            here = msgspec.structs.replace(shortfall, limit=limit)
            self.warn(self._warnings.fire_final(here, ""))

    def refuse(self, shortfall: Refusal, *, number: int, seq: int, agent: str) -> None:
        """Let nothing more be made: what agents would have done from here on, nobody knows."""
        self.stop = Stop(number, seq, agent, shortfall, self._baseline.parks)
        for waiting in self._line:
            self.views[waiting.recorded.hold_id].fate = "not_made"
        self._line.clear()

    def _admit(self, recorded: RecordedCall, *, at_last: bool = False) -> bool:
        """Make a call or refuse it; ``False`` if it has to wait for its siblings."""
        view, placed = self.views[recorded.hold_id], self._simulation.place(recorded)
        view.to_route, view.degraded = placed.target.route, placed.degraded
        self.warn(self._engine.warn_before(placed.spender, placed.ask, placed.accounts), view.number)
        answer = self._ask(recorded, placed)
        if isinstance(answer, Refusal):
            view.shortfall = answer
            if answer.held and not at_last:
                return False
            answer = self._last_call(recorded, placed, answer)
        if isinstance(answer, Refusal):
            view.fate = "refused"
            self.refuse(answer, number=view.number, seq=view.seq, agent=view.agent)
            return True
        view.fate = "last_call" if answer.final_reserve_of else "made"
        if answer.over is not None:
            self._warn_refused(placed, answer.over, view.number)
        view.output_cap = answer.output_cap
        if not answer.final_reserve_of:
            view.shortfall = answer.over
        self._held[recorded.hold_id] = _Held(answer, placed)
        return True

    def _ask(self, recorded: RecordedCall, placed: Placed) -> GrantedHold | Refusal:
        self._ledger.hold_id = recorded.hold_id
        if recorded.call.operation == "charge":
            return self._engine.hold_spent(recorded.charged, recorded.call, placed.accounts)
        return self._engine.admit(placed.spender, placed.ask, recorded.call, placed.accounts)

    def _last_call(self, recorded: RecordedCall, placed: Placed, shortfall: Refusal) -> GrantedHold | Refusal:
        """Give the final warning if it is due; the message is run again with it, and so the call is made after all.

        A handler that gets the refusal may continue in any way: only what was recorded as a last call is one.
        """
        is_open = self._warn_refused(placed, shortfall, self.views[recorded.hold_id].number)
        fits_alone = shortfall.needed <= shortfall.limit - shortfall.spent - shortfall.final_reserve
        if placed.ask.last_output and shortfall.cause == "limit" and not fits_alone:
            return self._last_word(recorded, placed, shortfall)
        if not is_open:
            return shortfall
        if not (self._baseline.parks or recorded.call.final_reserve_of):
            return msgspec.structs.replace(shortfall, final_reserve_open=True)
        return self._ask(recorded, placed)

    def _last_word(self, recorded: RecordedCall, placed: Placed, shortfall: Refusal) -> GrantedHold | Refusal:
        """Make a round of a loop of tools its last word, which leaves no room for another; no later round is made.

        It is as long as the round, which may be longer than what fits: how far its results can be trimmed is not
        recorded, so then it is refused.
        """
        last = msgspec.structs.replace(placed, ask=msgspec.structs.replace(placed.ask, last_output=0))
        answer = self._ask(recorded, last)
        if isinstance(answer, Refusal):
            return shortfall
        self._at_an_end.add(_message(recorded))
        return msgspec.structs.replace(answer, final_reserve_of=answer.final_reserve_of or placed.accounts[0])

    def _warn_refused(self, placed: Placed, shortfall: Refusal, number: int) -> bool:
        """Note the warnings of a call that does not fit any more; whether it may take the final reserve now."""
        warnings, is_open = self._engine.warn_refused(placed.spender, placed.ask, shortfall, placed.accounts)
        self.warn(warnings, number)
        return is_open

    def _resolve(self, recorded: RecordedCall, held: _Held) -> None:
        view, grant = self.views[recorded.hold_id], held.grant
        if recorded.settled is None:
            self._ledger.release(recorded.hold_id, self._clock.now_ns())
            return
        charged = charge_of(recorded, held.placed.rates, grant.amounts, grant.output_cap)
        view.replayed, view.replayed_priced = charged.amounts, charged.priced
        if view.fate == "made" and charged.usage != recorded.settled.usage:
            view.fate = "cut"
        cost = Cost(recorded.settled.source, charged.priced, charged.usage)
        agent = recorded.call.agent
        _, warnings = self._engine.charge(recorded.hold_id, grant.accounts, charged.amounts, cost, agent)
        self.warn(warnings, view.number)


def _message(recorded: RecordedCall) -> tuple[str, str, str]:
    """Return whose round a call is: the message's of an agent in a thread."""
    call = recorded.call
    return call.thread_id, call.agent, call.message_id


def _view(recorded: RecordedCall) -> ReplayedCall:
    """Return a call as it was; nothing is made of it yet."""
    call, route = recorded.call, target_of(recorded).route
    return ReplayedCall(
        number=recorded.number,
        seq=recorded.seq,
        time_ns=recorded.time_ns,
        thread_id=call.thread_id,
        agent=call.agent,
        call_id=call.call_id,
        attempt=call.attempt,
        route=route,
        state=recorded.state,
        recorded=recorded.charged,
        recorded_priced=recorded.priced,
        to_route=route,
        replayed=ZERO,
    )
