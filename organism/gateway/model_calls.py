"""The call itself: made on the thread that pays, told of what runs low, answered when what it cost is durable."""

import anyio
from msgspec.structs import replace

from organism.agents.budget_notes import nearest_limit, note_for
from organism.control.control import Control
from organism.errors import BudgetExhaustedError, Shortfall, UnknownAccountError
from organism.gateway.headers import THREAD, Headers, budget_headers, encoded
from organism.gateway.payer import Payer
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Answer, Request
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.messages import BudgetWarning
from organism.usage.events import AnyEvent, ThreadClosed


class Calls:
    """Makes calls for those who pay.

    Args:
        control: The organism.
        inject_note: Whether models are told of thresholds.

    Attributes:
        inject_note: The same; may be changed.
    """

    def __init__(self, control: Control, *, inject_note: bool) -> None:
        self._rooms = control.rooms
        self.inject_note = inject_note
        self._told: dict[str, set[tuple[str, int, str, int]]] = {}
        control.rooms.usage.subscribe(self._forget, ThreadClosed)

    async def complete(self, payer: Payer, request: CompletionRequest, on_text: DeltaSink | None) -> Completion:
        """Make a call and return its answer once the charge is durable.

        A call that is refused only because of what is kept for a last one is that last one.

        Raises:
            OrganismError: See :meth:`organism.runtime.orders.external_threads.ExternalThreads.complete`.
        """
        standing = self._rooms.pump.external_threads
        warning = self._news(payer)
        who, trace = (payer.thread_id, payer.spender), payer.trace
        asked_s = anyio.current_time()  # both tries are one call, with one deadline
        try:
            answer = await standing.complete(*who, self._noted(request, warning), on_text, trace, asked_s)
        except BudgetExhaustedError as error:
            if not error.shortfall.wrap_up:
                raise
            warning = self._last_warning(error.shortfall)
            answer = await standing.complete(*who, self._noted(request, warning), on_text, trace, asked_s)
        if warning is not None and self.inject_note:  # before anything else can happen, such as the thread's end
            self._told.setdefault(payer.thread_id, set()).add(self._mark(warning))
        await self._rooms.journal.commit()
        return answer

    async def answer(self, payer: Payer, request: Request) -> Answer:
        """Make a call of either kind whose answer comes whole; raises what :meth:`complete` does."""
        if not isinstance(request, EmbeddingRequest):
            return await self.complete(payer, request, None)
        embeddings = await self._rooms.pump.external_threads.embed(payer.thread_id, payer.spender, request, payer.trace)
        await self._rooms.journal.commit()
        return embeddings

    def input_count(self, request: Request) -> int:
        """Return about how many tokens of input a call has; raises as it would, and costs nothing."""
        return self._rooms.pump.router.input_count(request.model, request)

    def headers(self, payer: Payer) -> Headers:
        """Say who pays and what is left."""
        budgets = self._rooms.budgets
        try:
            return budget_headers(payer.thread_id, budgets.budgets(payer.thread_id), budgets.thresholds)
        except UnknownAccountError:  # it has ended meanwhile
            return encoded([(THREAD, payer.thread_id)])

    def _noted(self, request: CompletionRequest, warning: BudgetWarning | None) -> CompletionRequest:
        """Put a warning after everything else, so that what a provider has cached before it stays cached."""
        if warning is None or not self.inject_note:
            return request
        return replace(request, messages=(*request.messages, ChatMessage("system", note_for(warning))))

    def _news(self, payer: Payer) -> BudgetWarning | None:
        """Return the warning of the limit that is nearest to its end, unless the thread's model has been told."""
        if not self.inject_note:
            return None
        budgets = self._rooms.budgets
        warning = nearest_limit(budgets.budgets(payer.thread_id), budgets.thresholds)
        if warning is None or self._mark(warning) in self._told.get(payer.thread_id, ()):
            return None
        return warning

    def _last_warning(self, shortfall: Shortfall) -> BudgetWarning:
        return BudgetWarning(
            account=shortfall.account,
            dimension=shortfall.dimension,
            threshold=self._rooms.budgets.thresholds[-1],
            level="final",
            limit=shortfall.limit,
            spent=shortfall.spent,
        )

    def _mark(self, warning: BudgetWarning) -> tuple[str, int, str, int]:
        """Name a warning: under a new limit it is another one."""
        revision = self._rooms.budgets.state(warning.account).revision
        return warning.account, revision, warning.dimension, warning.threshold

    def _forget(self, event: AnyEvent) -> None:
        self._told.pop(event.thread_id, None)
