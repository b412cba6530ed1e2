"""Turns the budget's answer to a hold into a granted hold, or into a refusal that is reported and raised."""

from msgspec.structs import replace

from organism.budget.holds import GrantedHold, Spender
from organism.budget.policy import Ask
from organism.budget.registry import ThreadBudgetRegistry
from organism.budget.relief import approval_relief, relief
from organism.errors import BudgetExhaustedError, Refusal
from organism.ledger.entries import CallRecord
from organism.router.call_events import CallEvents


class BudgetAnswers:
    """Turns answers of the budget into holds or errors, and emits their events and warnings.

    Args:
        call_events: Takes the events, and delivers warnings to agents.
    """

    def __init__(self, registry: ThreadBudgetRegistry, call_events: CallEvents) -> None:
        self._registry = registry
        self._accounts = registry.accounts
        self._notes = registry.notes
        self._call_events = call_events

    def warn_before(self, spender: Spender, ask: Ask, record: CallRecord) -> None:
        """Warn of limits that time alone has brought nearer, or that leave room for few calls, before one is held."""
        for warning in self._registry.warn_before(spender, ask):
            self._call_events.emit_warning(record, warning)

    def granted(
        self,
        answer: GrantedHold | Refusal,
        spender: Spender,
        ask: Ask,
        record: CallRecord,
        *,
        raises: bool,
        elsewhere: bool = False,
    ) -> GrantedHold:
        """Return the granted hold; report a refusal, also one of a mode that only watches.

        Args:
            raises: Whether the caller gets a refusal as an error, and does not wait.
            elsewhere: Whether another provider may take the call, so that its agent need not be warned.

        Raises:
            BudgetExhaustedError: If it has refused.
        """
        if isinstance(answer, Refusal) and answer.cause == "approval":
            state, frees = self._registry.state(answer.account), self._accounts.frees(answer.account)
            passes = approval_relief(state, answer, self._registry.plan, frees)
            raise BudgetExhaustedError(answer, spender.thread_id, passes)
        if isinstance(answer, Refusal) and answer.cause != "limit":
            raise BudgetExhaustedError(answer, spender.thread_id)
        if isinstance(answer, Refusal):
            states = self._registry.scopes_of(spender)
            passes = relief(states, ask, self._registry.plan, self._accounts.frees)
            opened = not elsewhere and self.warn(answer, spender, ask, record)
            raise BudgetExhaustedError(self._refused(answer, record, opened, raises), spender.thread_id, passes)
        if answer.over is not None:
            self.warn(answer.over, spender, ask, record)
            if self._notes.refused(answer.over, spender.thread_id):
                self._call_events.emit_exceeded(record, answer.over, enforced=False)
        return answer

    def _refused(self, shortfall: Refusal, record: CallRecord, opened: bool, raises: bool) -> Refusal:
        """Emit a refusal, and mark it if the final reserve has been opened for a final call."""
        if raises if opened else self._notes.refused(shortfall, record.thread_id):
            self._call_events.emit_exceeded(record, shortfall, enforced=True)
        return replace(shortfall, final_reserve_open=True) if opened else shortfall

    def warn(self, shortfall: Refusal, spender: Spender, ask: Ask, record: CallRecord) -> bool:
        """Give the warnings of a call that does not fit any more; whether it may take the final reserve now."""
        warnings, final_reserve_open = self._registry.warn_refused(spender, ask, shortfall)
        for warning in warnings:
            self._call_events.emit_warning(record, warning)
        return final_reserve_open
