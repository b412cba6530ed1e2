"""The composition root: constructs every part of an organism from plain values and hands each what it works with.

It is the only module that constructs them, and contains no rule of its own. Each part is complete when its constructor
returns; what a part must call that is made after it, such as listeners of events, subscribes.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from organism.agents.tool_server_tasks import ToolServers
from organism.budget.calibration import Calibration
from organism.budget.registry import ThreadBudgetRegistry
from organism.clock import Clock, SteadyClock, SystemClock, utc
from organism.control.components import ActivePrices, Components, OrganismSpec, check_limited
from organism.control.observed.history import History
from organism.control.orders.thread_orders import ThreadOrders
from organism.errors import ConfigError, MissingExtraError
from organism.ids import IdSource, RandomIds
from organism.ledger.ledger import Ledger
from organism.llm.provider import Provider
from organism.pricing.book import PriceBook, ProviderPrices
from organism.router.planning.plan import check_plans
from organism.router.planning.provider_limiters import ProviderLimiters
from organism.router.router import LLMRouter
from organism.runtime.active_config import ActiveConfig, agent_config
from organism.runtime.loop_services import LoopServices
from organism.runtime.pump import Pump
from organism.stores.group_storage import Retention
from organism.stores.leases import Lease
from organism.stores.memory import MemoryJournal
from organism.threads.envelopes import EnvelopeFactory
from organism.threads.state_writer import ThreadStateWriter
from organism.usage.activity import ActivityFeed
from organism.usage.event_log import Store
from organism.usage.outbox import Outbox
from organism.usage.tracker import UsageTracker

if TYPE_CHECKING:
    from organism.stores.postgres.postgres_journal import PostgresJournal


@dataclass(frozen=True)
class SharedParts:
    """What several organisms of one process share, made and closed by who runs them; nothing unless given.

    Attributes:
        limiters: Those of the providers: a provider's places and minute are one for all.
        calibration: What is known of how many tokens text takes.
    """

    limiters: ProviderLimiters | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True)
class Environment:
    """What an organism gets from outside, and a test injects.

    Attributes:
        journal: Where what happens is kept: a journal, its file or the URL of its database; in memory unless given.
        clock: Injected time; the system's unless given.
        ids: Injected ids; random unless given.
        chance: Injected random numbers from 0 up to 1.
        prices: What models cost; made from the spec unless given.
        providers: Used in place of those of the spec with the same names.
        shared: What other organisms of the process use too; the providers and tool servers of the spec are then also
            theirs, and neither run nor closed with this one.
    """

    journal: Store | str | Path | None = None
    clock: Clock | None = None
    ids: IdSource | None = None
    chance: Callable[[], float] = random.random
    prices: PriceBook | None = None
    providers: Mapping[str, Provider] = field(default_factory=dict)
    shared: SharedParts = SharedParts()


def postgres_journal(
    url: str, name: str, retention: Retention | None = None, lease: Lease | None = None
) -> "PostgresJournal":
    """Return the journal in a PostgreSQL database, of the organism of a name; of a cluster's that of a lease.

    Raises:
        MissingExtraError: If the driver is not installed.
    """
    check_postgres()
    from organism.stores.postgres.postgres_journal import PostgresJournal

    return PostgresJournal(url, retention=retention, name=name, lease=lease)


def check_postgres() -> None:
    """Refuse to go on without the driver of PostgreSQL.

    Raises:
        MissingExtraError: If it is not installed.
    """
    if find_spec("psycopg") is None:
        raise MissingExtraError("a journal in PostgreSQL", "postgres")


def _journal(journal: Store | str | Path | None, name: str) -> Store:
    if isinstance(journal, str) and journal.startswith(("postgresql://", "postgres://")):
        return postgres_journal(journal, name)
    if isinstance(journal, str | Path):
        from organism.stores.sqlite import SqliteJournal

        return SqliteJournal(journal)
    return journal or MemoryJournal()


def _checked(spec: OrganismSpec, providers: Mapping[str, Provider]) -> OrganismSpec:
    """Return a spec in which other providers stand in for those of the same names.

    Raises:
        ConfigError: If it has none of such a name, or a model has no such route.
    """
    if unknown := sorted(set(providers) - set(spec.providers)):
        raise ConfigError(f"no provider {', '.join(unknown)}; there are: {', '.join(sorted(spec.providers))}")
    check_plans(spec.models, spec.providers)
    check_limited(spec)
    return replace(spec, providers={**spec.providers, **providers})


def wire(spec: OrganismSpec, environment: Environment) -> Components:
    """Construct an organism.

    Raises:
        ConfigError: If the parts do not fit together.
    """
    spec, shared = _checked(spec, environment.providers), environment.shared
    journal, ids = _journal(environment.journal, spec.name), environment.ids or RandomIds()
    clock, ledger = SteadyClock(environment.clock or SystemClock()), Ledger(journal.append)
    active = ActiveConfig(agent_config(spec.agents, spec.entry, spec.messages, spec.bounds, spec.on_exhausted))
    book = environment.prices or PriceBook(spec.prices, now=lambda: utc(clock), otherwise=spec.unpriced_rates)
    prices = ActivePrices(ProviderPrices(book, spec.provider_kinds), spec.provider_kinds)
    history, usage, activity = History(), UsageTracker(), ActivityFeed()
    journal.observer = activity.publish
    outbox = Outbox(journal, usage.publish, clock, usage.wanted, on_message=history.carried.add)
    budgets = ThreadBudgetRegistry(
        spec.limits, ledger, clock, mode=spec.mode, thresholds=spec.thresholds, wait_s=spec.wait_s
    )
    router = LLMRouter(
        spec.router_spec(prices.prices, shared.limiters),
        registry=budgets,
        outbox=outbox,
        clock=clock,
        ids=ids,
        activity=activity,
        chance=environment.chance,
        calibration=shared.calibration,
    )
    services = LoopServices(
        active=active,
        registry=budgets,
        router=router,
        state_writer=ThreadStateWriter(journal, budgets, clock),
        outbox=outbox,
        activity=activity,
        envelopes=EnvelopeFactory(clock, ids),
        clock=clock,
        ids=ids,
    )
    pump = Pump(services)
    return Components(
        spec=spec,
        shared=shared.limiters is not None,
        book=book,
        name=spec.name,
        active=active,
        prices=prices,
        tool_servers=ToolServers(spec.tool_servers if shared.limiters is None else ()),
        router=router,
        pump=pump,
        orders=ThreadOrders(pump, outbox, clock),
        budgets=budgets,
        ledger=ledger,
        journal=journal,
        outbox=outbox,
        usage=usage,
        activity=activity,
        history=history,
        clock=clock,
        ids=ids,
    )
