"""An organism in a program: made from Python values or from a file, started, and used.

It has no rules: :mod:`organism.wiring` makes the parts, :class:`organism.control.control.Control` audits the orders.
"""

import os
import random
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from organism.agents.agent import Agent
from organism.agents.llm_agent import TextListener
from organism.agents.tools.tool import ToolServer
from organism.amounts import BudgetState, Limits
from organism.amounts.account import thread_account
from organism.budget.guards.actions import Action, actions_in, thresholds_in
from organism.budget.holds import Mode
from organism.budget.requests import LimitsRequest
from organism.budget.scopes import BudgetPlan, plan_of
from organism.budget.thresholds import DEFAULT_THRESHOLDS
from organism.clock import Clock
from organism.concurrency.host_task import HostTask
from organism.concurrency.slices import in_slices
from organism.control.approval_queue import ApprovalQueue
from organism.control.components import Components, OrganismSpec
from organism.control.control import Control, ReloadSource
from organism.errors import BudgetExhaustedError, ThreadClosedError
from organism.ids import IdSource
from organism.journal import JournalError, Pieces, Stored, loaded
from organism.llm.provider import Provider
from organism.messages import Message, ThreadResult
from organism.pricing.book import PriceBook
from organism.router.call import RouterSettings
from organism.router.planning.plan import ModelPlan, model_plan
from organism.runtime.active_config import OnExhausted
from organism.runtime.bounds import Bounds
from organism.runtime.process_loop import run_to_end
from organism.runtime.pump import PumpStatistics
from organism.threads.approvals import ApprovalNeededError
from organism.threads.dead_letters import DeadLetter
from organism.threads.thread import ThreadView
from organism.usage.event_log import Store
from organism.usage.events import AnyEvent
from organism.wiring import Environment, wire

if TYPE_CHECKING:  # an embedder who writes Python needs none of it, and it doubles the time to start
    from organism.config.load import LoadedConfig


class Organism:
    """A running organism: agents, their models, and budgets over both. Use it as an async context manager, once.

    Args:
        agents: The agents; the first is the entry unless another is named.
        name: What it is called where several are watched.
        entry: The agent that messages without a recipient go to.
        models: Models as agents name them: ``{"main": "openai/gpt-5-mini"}``, or a whole :class:`ModelPlan`.
        providers: Providers by the name that routes use. They are closed with the organism.
        limits: Limits of each thread, or a whole :class:`BudgetPlan`.
        mode: ``off``, ``audit`` or ``enforce``.
        thresholds: Per cent of a limit at which to warn; or what happens at each: ``{75: "warn", 90: "park"}``.
        warn_ahead: Warn also when fewer calls than this, as large as the present one, fit; 3 unless given; 0 never.
        on_exhausted: What a refusal means for a handler.
        bounds: Structural bounds.
        router: How calls are made.
        prices: What models cost, beside what is shipped.
        provider_kinds: The kind of a provider in the price data, where it differs from its name.
        messages: Message types that come in from outside, beside those that agents name.
        tool_servers: Servers whose tools agents use.
        journal: A journal, its file or its database's URL; in memory unless given: then days' limits restart.
        clock: Injected time.
        ids: Injected ids.
        chance: Injected random numbers from 0 up to 1, for pauses between attempts.
        wait_s: Seconds a call waits in line for its siblings' holds.
        only: Of the threads that the journal has kept, the roots of those that go on; all when not given.

    Raises:
        ConfigError: If two agents share a name, or one names an agent or a model that does not exist.
    """

    def __init__(  # noqa: PLR0913 - the one place where an embedder can set everything; all but one have defaults
        self,
        agents: Iterable[Agent],
        *,
        name: str = "organism",
        entry: str | None = None,
        models: Mapping[str, str | ModelPlan] | None = None,
        providers: Mapping[str, Provider] | None = None,
        limits: Limits | BudgetPlan | None = None,
        mode: Mode = "enforce",
        thresholds: tuple[int, ...] | Mapping[int, Action] = DEFAULT_THRESHOLDS,
        warn_ahead: int | None = None,
        on_exhausted: OnExhausted = "park",
        bounds: Bounds | None = None,
        router: RouterSettings | None = None,
        prices: PriceBook | None = None,
        provider_kinds: Mapping[str, str] | None = None,
        messages: Iterable[type[Message]] = (),
        tool_servers: Iterable[ToolServer] = (),
        journal: Store | str | Path | None = None,
        clock: Clock | None = None,
        ids: IdSource | None = None,
        chance: Callable[[], float] = random.random,
        wait_s: float = 30.0,
        only: Container[str] | None = None,
    ) -> None:
        agents = tuple(agents)
        spec = OrganismSpec(
            agents=agents,
            tool_servers=tuple(tool_servers),
            messages=tuple(messages),
            models={name: model_plan(name, model) for name, model in (models or {}).items()},
            providers=dict(providers or {}),
            provider_kinds=dict(provider_kinds or {}),
            prices={},
            unpriced_rates=None,
            limits=plan_of(limits, warn_ahead, actions_in(thresholds)),
            router=router or RouterSettings(),
            bounds=bounds or Bounds(),
            name=name,
            entry=entry or (agents[0].name if agents else ""),
            mode=mode,
            thresholds=thresholds_in(thresholds),
            on_exhausted=on_exhausted,
            wait_s=wait_s,
        )
        self._use(wire(spec, Environment(journal, clock, ids, chance, prices)), only, None)

    def _use(self, components: Components, only: Container[str] | None, reload: ReloadSource | None) -> None:
        """Be the organism of these parts."""
        self._only, self._shared = only, components.shared
        self._active, self._prices = components.active, components.prices
        self._orders, self._letters = (orders := components.orders), orders.dead_letters
        self._host: HostTask | None = None
        self.name, self.journal, self.clock = components.name, components.journal, components.clock
        self.usage, self.activity, self.outbox = components.usage, components.activity, components.outbox
        self.ledger, self.budgets, self.router = components.ledger, components.budgets, components.router
        self.pump, self.ids, self.tool_servers = components.pump, components.ids, components.tool_servers
        self.control = Control(components, reload)  # the one door for orders: each is audited and carried out once
        self.freeze, self.unfreeze = self.control.freeze, self.control.unfreeze
        self.approvals = ApprovalQueue(self.control, orders.approvals)

    @classmethod
    def from_yaml(
        cls,
        path: str | Path,
        *,
        environment: Mapping[str, str] | None = None,
        progress: Callable[[str], None] = lambda _line: None,
        on_text: TextListener | None = None,
        journal: Store | str | Path | None = None,
        providers: Mapping[str, Provider] | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Make the organism that a file describes.

        Args:
            path: The file.
            environment: Where ``${env:NAME}`` is looked up; the process's own unless given.
            progress: Called with a line about what takes long.
            on_text: Follows answers of LLM agents while they are written.
            journal: Where what happens is kept: a journal, its file or its database's URL; in memory unless given.
            providers: Used in place of those that the file names so, as in tests; prices stay those of the file.
            clock: Injected time.

        Raises:
            ConfigError: If the file is wrong anywhere, or names no such provider.
        """
        from organism.config.load import load_config

        values = dict(os.environ if environment is None else environment)
        outside = Environment(journal, clock, providers=providers or {})
        return cls.from_config(load_config(Path(path), values), values, outside, progress=progress, on_text=on_text)

    @classmethod
    def from_config(
        cls,
        loaded: "LoadedConfig",
        environment: dict[str, str],
        outside: Environment | None = None,
        *,
        progress: Callable[[str], None] = lambda _line: None,
        on_text: TextListener | None = None,
        only: Container[str] | None = None,
        reload: ReloadSource | None = None,
    ) -> Self:
        """Make the organism of a checked configuration; see :meth:`from_yaml`."""
        from organism.config.build.spec import build

        return cls.of_components(
            wire(build(loaded, environment, progress, on_text), outside or Environment()), only, reload
        )

    @classmethod
    def of_components(cls, components: Components, only: Container[str] | None, reload: ReloadSource | None) -> Self:
        """Be the organism of parts that :func:`organism.wiring.wire` has made."""
        organism = cls.__new__(cls)
        organism._use(components, only, reload)  # noqa: SLF001 - a constructor of its own
        return organism

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The active agents, by name."""
        return self._active.agents

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The active providers, by the name that routes use."""
        return self.router.providers

    @property
    def provider_kinds(self) -> Mapping[str, str]:
        """The kind of each provider in the price data."""
        return self._prices.provider_kinds

    async def __aenter__(self) -> Self:
        """Open the journal, take up what it holds, and let the threads go on.

        Raises:
            JournalError: If the journal cannot be used. A second start is a RuntimeError.
        """
        if self._host is not None:  # its parts have stopped for good: what they were given now would wait without end
            raise RuntimeError(f"organism {self.name!r} has been started before, and runs once: make another")
        self._host = HostTask(self._start, f"organism {self.name!r}")
        await self._host.begin()
        return self

    async def _start(self, stack: AsyncExitStack) -> None:
        stack.push_async_callback(self._close_outside)
        await stack.enter_async_context(self.journal)
        stack.push_async_callback(self._ease_next_start)
        stored = await loaded(self.journal)
        pieces = Pieces(stored.pieces)
        self.control.check_owner(pieces)
        self.clock.not_before(stored.last_time_ns)
        await stack.enter_async_context(self.router)
        await stack.enter_async_context(self.tool_servers)
        await stack.enter_async_context(self.pump)
        await self._take_up(stored, pieces)
        self.pump.resume_threads(self._only)

    async def _take_up(self, stored: Stored, pieces: Pieces) -> None:
        """Rebuild what an earlier process has left, and resolve the calls that it could not."""
        await in_slices(map(self.ledger.take_up, stored.entries))
        self.outbox.continue_after(stored.last_event)
        await self.pump.recover_threads(pieces, stored.last_time_ns, self._only)
        history, changes = self.control.restored_history, self._orders.budget_changes
        await history.take_up(pieces, stored.last_event)
        self.pump.resolve_orphans()
        if self._only is None:  # others' threads wait for what they have always waited for
            changes.replan(self.budgets.plan, self.budgets.thresholds)
        await self.control.restore(pieces)
        await self.journal.commit()

    async def __aexit__(self, *_error: object) -> None:
        """Stop: settle open calls, close everything. A durable journal keeps open threads for the next process."""
        if self._host is not None:
            await self._host.end()

    async def _ease_next_start(self) -> None:
        """Leave the next start little to read; unless this one has failed, for what it has read is not whole then."""
        if self._host is None or not self._host.has_begun:
            return
        with suppress(JournalError):
            await self.journal.commit()  # only then are all events told, and so in the sums
            self.control.keep_sums()
            self.budgets.checkpoint(after_entries=500)

    async def _close_outside(self) -> None:
        self.usage.close()
        for name, provider in () if self._shared else self.providers.items():
            await self.router.close_provider(name, provider)

    async def open_thread(
        self,
        message: Message | str,
        *,
        to: str | None = None,
        thread_id: str | None = None,
        limits: LimitsRequest | Limits | None = None,
        labels: dict[str, str] | None = None,
        trace: str | None = None,
    ) -> str:
        """Open a thread with a first message and return its id once that is durable; it runs on its own from here.

        Args:
            message: The message; plain text becomes :class:`Text`.
            to: The agent it is for; the entry agent unless given.
            thread_id: A name for the thread, never used before.
            limits: Those that it names, above or below the configured ones; the others stay as configured. To remove
                one, say so with :class:`organism.budget.requests.LimitsRequest`.
            labels: Kept on every usage event of the thread.
            trace: The ``traceparent`` of the caller; one that is malformed is ignored.

        Raises:
            DeliveryError: If the message cannot be accepted.
            StoppedError: If the organism is stopping.
            JournalError: If it cannot be kept.
        """
        order = self.control.open_thread
        return (await order(message, to=to, thread_id=thread_id, limits=limits, labels=labels, trace=trace)).thread_id

    async def send(self, thread_id: str, message: Message | str, *, to: str | None = None) -> str:
        """Send a message into an open thread and return its id once it is durable; raises as :meth:`open_thread`."""
        return (await self.control.send(thread_id, message, to=to)).message_id or ""

    async def wait(self, thread_id: str) -> ThreadResult:
        """Wait for the end of a thread.

        Raises:
            BudgetExhaustedError: It waits for budget; raise the limit and wait again.
            ApprovalNeededError: It waits for a person; answer and wait again.
            StoppedError: The organism has stopped, and it stays open.
            ThreadClosedError: If no such thread is open.
        """
        rest = await self.pump.wait_rest(thread_id)
        await self.journal.commit()
        if isinstance(rest, ThreadView):
            if rest.blocked_by is not None:
                raise BudgetExhaustedError(rest.blocked_by, thread_id)
            raise ApprovalNeededError(self.approvals.waiting(rest.root_thread_id), thread_id)
        return rest

    async def run(
        self,
        message: Message | str,
        *,
        to: str | None = None,
        limits: LimitsRequest | Limits | None = None,
        labels: dict[str, str] | None = None,
    ) -> ThreadResult:
        """Open a thread and wait for its end.

        Raises:
            BudgetExhaustedError: It waits for budget; the error names the thread.
            DeliveryError: If the message cannot be accepted.
        """
        return await self.wait(await self.open_thread(message, to=to, limits=limits, labels=labels))

    def run_sync(self, message: Message | str, *, to: str | None = None, limits: Limits | None = None) -> ThreadResult:
        """Run one thread from a program without an event loop: start, :meth:`run`, stop. Once for each organism."""

        async def run() -> ThreadResult:
            async with self:
                return await self.run(message, to=to, limits=limits)

        return run_to_end(run, instead="await organism.run(...) inside 'async with organism:'")

    async def terminate(self, thread_id: str, reason: str = "terminated by order") -> ThreadResult:
        """End a thread and its children now; raises :class:`ThreadClosedError` if no such thread is open."""
        await self.control.terminate(thread_id, reason)
        if (result := self.pump.result(thread_id)) is None:
            raise ThreadClosedError(thread_id)
        return result

    async def drain(self, within_s: float = 30.0) -> bool:
        """Take no new threads and wait for the open ones; whether all came to rest in time."""
        await self.control.drain(within_s)
        return self.pump.at_rest

    async def set_limits(self, thread_id: str, limits: Limits) -> BudgetState:
        """Give a thread new limits; what waited for budget goes on.

        Raises:
            UnknownAccountError: If the thread is not open.
            JournalError: If the change cannot be kept.
        """
        return await self.control.set_limits(thread_account(thread_id), limits)

    def threads(self) -> tuple[ThreadView, ...]:
        """Return a look at every open thread."""
        return self.pump.threads()

    def thread(self, thread_id: str) -> ThreadView:
        """Return a look at one open thread; raises :class:`ThreadClosedError` if it is none."""
        return self.pump.thread(thread_id)

    def thread_budgets(self, thread_id: str) -> tuple[BudgetState, ...]:
        """Return every account that limits an open thread, its own first."""
        return self.budgets.budgets(thread_id)

    async def events_after(self, after: str, limit: int = 1000) -> list[AnyEvent]:
        """Return stored events after the one of that id, oldest first; an empty id begins with the oldest kept.

        Raises:
            EventsGoneError: If some after that one are not kept any more.
        """
        return await self.journal.events_after(after, limit)

    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Return the newest dead letters."""
        return self._letters.list()

    def statistics(self) -> PumpStatistics:
        """Count what is open and what waits."""
        return self.pump.statistics()
