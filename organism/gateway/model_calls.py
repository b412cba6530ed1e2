"""Makes calls on the threads that pay for them; an answer is returned once its charge is durable."""

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
    """Makes calls on the threads that pay for them.

    Args:
        control: The organism.

    Attributes:
        inject_note: Whether a note about thresholds is appended to requests, for the model.
        warns_in_text: Whether a line about them is put into answers, for people.
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
        """Use other settings from the next call on."""
        self.inject_note = settings.inject_note
        self.warns_in_text = settings.warn == "text"

    async def complete(self, payer: Payer, request: CompletionRequest, on_text: DeltaSink | None) -> Completion:
        """Make a call and return its answer once the charge is durable.

        A call that only the final reserve stands against is made from the final reserve, as the last one.

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
        """Return what puts the line for people into an answer; ``None`` if that is switched off."""
        return PersonsLine(self._people, payer, request) if self.warns_in_text else None

    async def with_line(self, line: PersonsLine | None, answer: Completion) -> Completion:
        """Return an answer with the line for people, once it is durable that the warning has been given."""
        if line is None:
            return answer
        told = line.put_into(answer)
        if line.is_taken:
            await self._journal.commit()
        return told

    async def answer(self, payer: Payer, request: Request) -> Answer:
        """Make a call, of either kind, without a stream; raises what :meth:`complete` does."""
        if not isinstance(request, EmbeddingRequest):
            return await self.complete(payer, request, None)
        embeddings = await self._standing.embed(payer.thread_id, payer.spender, request, payer.trace)
        await self._journal.commit()
        return embeddings

    async def input_count(self, request: Request) -> int:
        """Return about how many tokens of input a call has, at no cost; raises what the call would."""
        return await self._router.input_count(request.model, request)

    def headers(self, payer: Payer) -> Headers:
        """Return the headers that say who pays and what is left."""
        budgets = self._budgets
        try:
            thread_id = payer.thread_id
            left = remaining(budgets.budgets(thread_id), budgets.plan, budgets.mode)
            return budget_headers(thread_id, left, budgets.standing_warning(thread_id))
        except UnknownAccountError:  # it has ended meanwhile
            return encoded([(THREAD, payer.thread_id)])

    def _noted(self, request: CompletionRequest, warning: BudgetWarning | None) -> tuple[CompletionRequest, bool]:
        """Append a warning to a request if there is a place for it; at its end it does not spoil a provider's cache."""
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
