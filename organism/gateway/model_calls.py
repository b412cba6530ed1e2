"""Makes the call on the thread that pays, with its budget warning; the answer waits until the charge is durable."""

from organism.agents.budget_notes import note_for
from organism.budget.relief import remaining
from organism.concurrency.loop_time import loop_time
from organism.control.control import Control
from organism.errors import BudgetExhaustedError, Refusal, UnknownAccountError
from organism.gateway.budget_notices import PersonsLine, Told, with_note, without_lines
from organism.gateway.headers import THREAD, Headers, budget_headers, encoded
from organism.gateway.payer import Payer
from organism.gateway.settings import Settings
from organism.llm.answers import Completion
from organism.llm.deltas import DeltaSink
from organism.llm.embeddings import EmbeddingRequest
from organism.llm.provider import Answer, Request
from organism.llm.requests import CompletionRequest
from organism.messages import BudgetWarning


class ModelCalls:
    """Makes calls for those who pay.

    Args:
        control: The organism.

    Attributes:
        inject_note: Whether requests carry a note for the model about thresholds.
        warns_in_text: Whether answers carry a line for people about them.
    """

    def __init__(self, control: Control) -> None:
        components = control.components
        self._standing = control.external_threads
        self._router = components.router
        self._budgets = components.budgets
        self._journal = components.journal
        self.inject_note = False
        self.warns_in_text = False
        self._models = Told("model", control.told_warnings, components.budgets)
        self._people = Told("person", control.told_warnings, components.budgets)

    def apply(self, settings: Settings) -> None:
        """Tell models and people of thresholds, or not, from the next call on."""
        self.inject_note = settings.inject_note
        self.warns_in_text = settings.warn == "text"

    async def complete(self, payer: Payer, request: CompletionRequest, on_text: DeltaSink | None) -> Completion:
        """Make a call and return its answer once the charge is durable.

        A call that is refused only because of what is kept for a last one is that last one.

        Raises:
            OrganismError: See :meth:`organism.control.orders.external_threads.ExternalThreads.complete`.
        """
        request = without_lines(request)
        warning = self._models.news(payer) if self.inject_note else None
        noted, tells = self._noted(request, warning)
        who, trace = (payer.thread_id, payer.spender), payer.trace
        asked_s = loop_time()  # both tries are one call, with one deadline
        try:
            answer = await self._standing.complete(*who, noted, on_text, trace, asked_s)
        except BudgetExhaustedError as error:
            if not error.refusal.final_reserve_open:
                raise
            warning = self._last_warning(error.refusal)
            noted, tells = self._noted(request, warning)
            answer = await self._standing.complete(*who, noted, on_text, trace, asked_s)
        if warning is not None and tells:  # before anything else can happen, such as the thread's end
            self._models.note(payer, warning)
        await self._journal.commit()
        return answer

    def persons_line(self, payer: Payer, request: CompletionRequest) -> PersonsLine | None:
        """Return what puts a line for the person into the answer of a call; ``None`` if that is not wished."""
        return PersonsLine(self._people, payer, request) if self.warns_in_text else None

    async def with_line(self, line: PersonsLine | None, answer: Completion) -> Completion:
        """Return an answer with the line for the person in it, once it is durable that nobody reads it again."""
        if line is None:
            return answer
        told = line.put_into(answer)
        if line.is_taken:
            await self._journal.commit()
        return told

    async def answer(self, payer: Payer, request: Request) -> Answer:
        """Make a call of either kind whose answer comes whole; raises what :meth:`complete` does."""
        if not isinstance(request, EmbeddingRequest):
            return await self.complete(payer, request, None)
        embeddings = await self._standing.embed(payer.thread_id, payer.spender, request, payer.trace)
        await self._journal.commit()
        return embeddings

    async def input_count(self, request: Request) -> int:
        """Return about how many tokens of input a call has; raises as it would, and costs nothing."""
        return await self._router.input_count(request.model, request)

    def headers(self, payer: Payer) -> Headers:
        """Say who pays and what is left."""
        budgets = self._budgets
        try:
            thread_id = payer.thread_id
            left = remaining(budgets.budgets(thread_id), budgets.plan, budgets.mode)
            return budget_headers(thread_id, left, budgets.standing_warning(thread_id))
        except UnknownAccountError:  # it has ended meanwhile
            return encoded([(THREAD, payer.thread_id)])

    def _noted(self, request: CompletionRequest, warning: BudgetWarning | None) -> tuple[CompletionRequest, bool]:
        """Put a warning after everything else, so that what a provider has cached before it stays cached."""
        noted = None if warning is None or not self.inject_note else with_note(request, note_for(warning))
        return (request, False) if noted is None else (noted, True)

    def _last_warning(self, shortfall: Refusal) -> BudgetWarning:
        return BudgetWarning(
            account=shortfall.account,
            dimension=shortfall.dimension,
            threshold=self._budgets.thresholds[-1],
            level="final",
            limit=shortfall.limit,
            spent=shortfall.spent,
        )
