"""The shape of organism.yaml: one frozen struct per section; the field docs become the editor's JSON Schema.

Nothing here reads files or environment; values are as written, with units in the field's name or its description.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from organism.config.schema.agents import AgentSection, MCPServerSection
from organism.config.schema.breakers import BreakersSection
from organism.config.schema.exporters import ExporterSection
from organism.config.schema.gateway import GatewaySection
from organism.config.schema.limits import AllLimitsSection, Thresholds
from organism.config.schema.llm import LLMSection, PriceSection
from organism.config.schema.values import Count, LogLevel, Positive, Section

_Address = Annotated[str, Meta(pattern="^https?://[^/?#@]+(/[^?#]*)?$")]


class BoundsSection(Section, frozen=True, kw_only=True):
    """Structural bounds, each with a finite default."""

    mailbox_messages: Annotated[Positive, Meta(description="messages that may wait for one agent")] = 1000
    mailbox_bytes: Annotated[Positive, Meta(description="bytes that may wait for one agent")] = 16_000_000
    message_bytes: Annotated[Positive, Meta(description="bytes of one message")] = 1_000_000
    hops: Annotated[Positive, Meta(description="handlers in a row")] = 50
    fan_out: Annotated[Positive, Meta(description="messages one run of a handler may send")] = 64
    depth: Annotated[Positive, Meta(description="child threads within child threads")] = 8
    descendants: Annotated[Positive, Meta(description="child threads below one root")] = 1000
    calls_in_flight: Annotated[Positive, Meta(description="calls at a time that handlers of one thread make")] = 8
    attempts: Annotated[Positive, Meta(description="runs of a handler on one message")] = 5
    handlers: Annotated[
        Positive, Meta(description="handlers that may run at once; those that wait for other agents do not count")
    ] = 1000
    worker_threads: Annotated[
        Positive, Meta(le=1000, description="plain functions, as handlers or tools, that may be at work at once")
    ] = 40
    restarts: Annotated[Count, Meta(description="failed messages after which an agent is stopped")] = 3
    restart_seconds: Annotated[Positive, Meta(description="within so many seconds")] = 60


class DaemonSection(Section, frozen=True, kw_only=True):
    """Where the daemon listens."""

    host: Annotated[str, Meta(description="an address of this machine")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="0 takes any free port")] = 8420
    hosts: Annotated[list[str], Meta(description="host names a reverse proxy serves it under, without port")] = []
    public_url: Annotated[
        _Address | None, Meta(description="where people reach it, such as https://agents.example; links begin so")
    ] = None


class ClusterSection(Section, frozen=True, kw_only=True):
    """Several daemons that are one organism, on one PostgreSQL database."""

    url: Annotated[str, Meta(description="the PostgreSQL database that all of them share, and nothing else uses")]
    partitions: Annotated[
        int, Meta(ge=2, le=256, description="journals that it holds; fixed when the database is made")
    ] = 16
    labels: Annotated[
        str | list[str],
        Meta(description="what this daemon has, such as gpu; agents with that node_label work only there"),
    ] = []
    label_partitions: Annotated[
        dict[str, Positive],
        Meta(description="journals for the threads of agents with a node_label, 4 for each; fixed once they are made"),
    ] = {}
    node: Annotated[
        str | None, Meta(description="what this daemon is called among them; unless given, as its machine is")
    ] = None
    advertise: Annotated[
        str | None,
        Meta(description="where the others reach it, such as http://10.0.0.5:8420; unless given, only this machine's"),
    ] = None


def listed_labels(written: str | list[str]) -> list[str]:
    """Return the labels of a daemon, however they were written: a list, or a text with commas or spaces."""
    return written.replace(",", " ").split() if isinstance(written, str) else written


class JournalSection(Section, frozen=True, kw_only=True):
    """How long the journal keeps what is over; open threads and balances are always kept."""

    events_days: Annotated[Positive, Meta(description="days that usage and other events are kept")] = 90
    entries_days: Annotated[Positive, Meta(description="days that ledger entries are kept")] = 400


class LogRoomsSection(Section, frozen=True, kw_only=True):
    """The least that single rooms log."""

    agent: Annotated[LogLevel | None, Meta(description="what agents log themselves, with ctx.log")] = None
    daemon: Annotated[LogLevel | None, Meta(description="starting and stopping")] = None
    event: Annotated[LogLevel | None, Meta(description="one line per event, at level info")] = None
    journal: Annotated[LogLevel | None, Meta(description="failures of the storage")] = None
    pump: Annotated[LogLevel | None, Meta(description="failures of handlers, dead letters")] = None
    usage: Annotated[LogLevel | None, Meta(description="failures of those who listen to events")] = None
    libraries: Annotated[LogLevel | None, Meta(description="everything else; warning unless given")] = None


class LoggingSection(Section, frozen=True, kw_only=True):
    """What the daemon logs."""

    format: Annotated[Literal["console", "json"], Meta(description="for people or for programs")] = "console"
    level: Annotated[LogLevel, Meta(description="the least that is logged")] = "info"
    rooms: Annotated[LogRoomsSection, Meta(description="other levels for single rooms")] = LogRoomsSection()


class Config(Section, frozen=True, kw_only=True):
    """The whole file."""

    name: Annotated[str, Meta(description="the organism's name")]
    entry: Annotated[str, Meta(description="the agent that messages go to")]
    mode: Annotated[
        Literal["off", "audit", "enforce"], Meta(description="off only records, audit also says, enforce refuses")
    ] = "enforce"
    thresholds: Annotated[
        Thresholds,
        Meta(description="per cents of a limit at which to warn, ascending, or what happens at each of them"),
    ] = msgspec.field(default_factory=lambda: [75, 90, 95])
    warn_ahead: Annotated[
        Count,
        Meta(description="warn also when fewer calls than this fit that are as large as the present one; 0: never"),
    ] = 3
    on_exhausted: Annotated[Literal["park", "fail"], Meta(description="what a refusal means for a message")] = "park"
    python_path: Annotated[list[str], Meta(description="folders, from this file, that handlers are imported from")] = []
    max_tokens_per_thread: Annotated[
        Count | Literal["unlimited"] | None, Meta(description="short for limits.thread.tokens")
    ] = None
    limits: Annotated[AllLimitsSection, Meta(description="ceilings")] = AllLimitsSection()
    llm: Annotated[LLMSection, Meta(description="models and how they are called")] = LLMSection()
    prices: Annotated[
        dict[str, PriceSection | list[PriceSection] | str],
        Meta(description="by 'provider/model' or model: a price, prices by date, or the model that costs the same"),
    ] = {}
    mcp: Annotated[dict[str, MCPServerSection], Meta(description="MCP servers that agents name as tools")] = {}
    agents: Annotated[dict[str, AgentSection], Meta(description="by name")]
    bounds: Annotated[BoundsSection, Meta(description="structural bounds")] = BoundsSection()
    breakers: Annotated[
        BreakersSection | Literal["off"] | None,
        Meta(description="what trips when an agent goes round and round; unless given, only an event"),
    ] = None
    store: Annotated[
        str,
        Meta(
            pattern="^(sqlite|postgres|postgres(ql)?://.+)$",
            description="where the journal is: sqlite, a file in the state folder; postgres, the database that "
            "DATABASE_URL names; or the URL of one",
        ),
    ] = "sqlite"
    cluster: Annotated[
        ClusterSection | None, Meta(description="several daemons as one organism; one daemon alone unless given")
    ] = None
    journal: Annotated[JournalSection, Meta(description="what is kept for how long")] = JournalSection()
    daemon: Annotated[DaemonSection, Meta(description="where the daemon listens")] = DaemonSection()
    gateway: Annotated[
        GatewaySection | None, Meta(description="lets programs that speak to OpenAI spend budgets; off unless given")
    ] = None
    exporters: Annotated[dict[str, ExporterSection], Meta(description="where events go beside the API")] = {}
    logging: Annotated[LoggingSection, Meta(description="what is logged")] = LoggingSection()
