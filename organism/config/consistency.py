"""Every name in a configuration leads somewhere, and every value makes sense beside the others."""

import re
from collections.abc import Iterator
from zoneinfo import available_timezones

from organism.config.checking import Checked
from organism.config.limits_section import check_scopes, check_thresholds
from organism.config.price_section import check_price, check_prices, check_tool_price
from organism.config.provider_connections import check_reach, is_address
from organism.config.schema.agents import (
    AskToolSection,
    LLMAgentSection,
    MCPToolSection,
    MCPURLSection,
    SendToolSection,
    ToolSection,
    listed,
)
from organism.config.schema.exporters import JsonLinesExporterSection, WebhookExporterSection
from organism.config.schema.gateway import GatewayKeySection
from organism.config.schema.llm import ModelSection, PriceSection
from organism.config.schema.root import ClusterSection, listed_labels
from organism.config.yaml.mistakes import Path_, did_you_mean
from organism.config.yaml.scalars import UNSET
from organism.ids import (
    AGENT_NAME,
    LABEL_PARTITIONS,
    PARTITIONS_MAX,
    THREAD_ID,
    USER,
    at_nodes,
    is_node_label,
    no_node_label,
)
from organism.providers.addresses import LOOPBACK, not_loopback
from organism.router.planning.plan import ANY

THREAD_TOKENS: tuple[Path_, ...] = (
    ("max_tokens_per_thread",),
    ("limits", "max_tokens_per_thread"),
    ("limits", "thread", "tokens"),
)
"""Where the tokens of a thread may be written."""

_SERVER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
"""It begins the names of the server's tools, which have 64 characters at most."""

_ADVERTISED = re.compile(r"https?://[^/?#@]+/?")
_STORE = re.compile(r"sqlite|postgres|postgres(ql)?://.+")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|\[?[0-9A-Fa-f:.]{2,39}\]?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_AGENTS = ("agents",)
_MODELS = ("llm", "models")
_PROVIDERS = ("llm", "providers")


def check(it: Checked) -> None:
    """Report what is wrong with the values that can be read."""
    _check_names(it)
    _check_tool_servers(it)
    _check_agents(it)
    check_reach(it.config, it.report)
    _check_models(it)
    check_prices(it.config.prices, it.report)
    _check_unpriced(it)
    _check_limits(it)
    check_scopes(it.config.limits, it.report, degradable=_degradable(it))
    _check_gateway(it)
    _check_outside(it)
    _check_cluster(it)


def _check_names(it: Checked) -> None:
    config = it.config
    if not AGENT_NAME.fullmatch(config.name):
        it.report(f"{config.name!r} is no name: use a letter, then letters, digits, '-' or '_', at most 64", "name")
    if not config.agents:
        it.report("there are no agents; an organism needs at least one", "agents")
    for name in it.names(*_AGENTS):
        if name == USER or not AGENT_NAME.fullmatch(name):
            reason = f"{name!r} cannot be an agent's name: use a letter, then letters, digits, '-' or '_', not {USER!r}"
            it.report_name(reason, "agents", name)
    it.refer(config.entry, _AGENTS, "agent", "entry")
    check_thresholds(config.thresholds, it.report, "thresholds", degradable=_degradable(it))


def _degradable(it: Checked) -> bool:
    """Whether any model says what takes its place, or may have said so where it could not be read."""
    models = it.models.values()
    return any(isinstance(model, ModelSection) and model.degrade is not None for model in models) or any(
        it.follows(*_MODELS, name) for name in it.names(*_MODELS)
    )


def _check_agents(it: Checked) -> None:
    for name, agent in it.config.agents.items():
        for field, values in (("next", listed(agent.next)), ("gather", agent.gather), ("peers", agent.peers or [])):
            for place, value in enumerate(values):
                if field == "peers" and value == "*":
                    continue
                path: Path_ = ("agents", name, field, place)
                it.refer(value, _AGENTS, "agent", *(path if path in it.places else path[:-1]))
        _check_gathering(it, name)
        if isinstance(agent, LLMAgentSection):
            it.refer(agent.model, _MODELS, "model", "agents", name, "model", among=_named_models(it))
            _check_tools(it, name, agent)
        _check_node_label(it, name)


def _check_node_label(it: Checked, name: str) -> None:
    """Refuse a label that cannot be, and agents of another label that would have to work in the same thread."""
    agents = it.config.agents
    agent = agents[name]
    label = agent.node_label or ""
    if agent.node_label is not None and not is_node_label(label):
        it.report(no_node_label(label), "agents", name, "node_label")
        return
    for other, path in _written_to(it, name):
        others = [each for each in agents if each != name] if other == "*" else [other]
        for each in others:
            if each not in agents or it.follows("agents", each) or (agents[each].node_label or "") == label:
                continue
            reason = (
                f"{name!r} works {at_nodes(label)} and {each!r} {at_nodes(agents[each].node_label or '')}, but a "
                "thread is at one node: give both the same node_label, or let neither write to the other"
            )
            it.report(reason, *path)
            break


def _written_to(it: Checked, name: str) -> Iterator[tuple[str, Path_]]:
    """Yield whom an agent writes to, each with the path of where that is written."""
    agent = it.config.agents[name]
    for field, values in (("next", listed(agent.next)), ("peers", agent.peers or [])):
        for place, value in enumerate(values):
            path: Path_ = ("agents", name, field, place)
            yield value, path if path in it.places else path[:-1]
    for place, tool in enumerate(agent.tools if isinstance(agent, LLMAgentSection) else ()):
        at: Path_ = ("agents", name, "tools", place)
        match tool:
            case AskToolSection(ask=recipient):
                yield recipient, (*at, "ask")
            case SendToolSection(send=recipient):
                yield recipient, (*at, "send")
            case _:
                pass


def _check_gathering(it: Checked, name: str) -> None:
    agents = it.config.agents
    for sender in agents[name].gather:
        if sender not in agents or it.follows("agents", sender):
            continue
        if not {name, "*"} & {*listed(agents[sender].next), *(agents[sender].peers or [])}:
            it.report(f"{sender!r} never writes to {name!r}: add it to the 'next' of {sender!r}",
                      "agents", name, "gather")  # fmt: skip


def _check_tools(it: Checked, name: str, agent: LLMAgentSection) -> None:
    for place, tool in enumerate(agent.tools):
        at: Path_ = ("agents", name, "tools", place)
        if isinstance(tool, ToolSection):
            check_tool_price(tool.price, (*at, "price"), it.report)
        match tool:
            case AskToolSection(ask=recipient):
                if recipient == name:
                    it.report("an agent cannot ask itself", *at, "ask")
                it.refer(recipient, _AGENTS, "agent", *at, "ask")
            case SendToolSection(send=recipient):
                it.refer(recipient, _AGENTS, "agent", *at, "send")
            case MCPToolSection(mcp=server):
                it.refer(server, ("mcp",), "MCP server", *at, "mcp")
            case _:
                pass


def _check_tool_servers(it: Checked) -> None:
    for name in it.names("mcp"):
        if not _SERVER_NAME.fullmatch(name):
            it.report_name(f"{name!r} cannot be a server's name: use letters, digits, '-' and '_'", "mcp", name)
    for name, section in it.config.mcp.items():
        check_tool_price(section.price, ("mcp", name, "price"), it.report)
        for tool, price in section.prices.items():
            check_tool_price(price, ("mcp", name, "prices", tool), it.report)
        if isinstance(section, MCPURLSection) and not _is_web_address(section.url):
            it.report("this is no address of a server; write one such as https://mcp.example.com/mcp",
                      "mcp", name, "url")  # fmt: skip


def _is_web_address(url: str) -> bool:
    return is_address(url, ("http", "https"))


def _check_models(it: Checked) -> None:
    for name in it.names(*_MODELS):
        if ANY in name[:-1]:
            it.report_name("a '*' may only end a model's name, and stands for every name that begins so",
                           *_MODELS, name)  # fmt: skip
    for name, model in it.models.items():
        routes = [model] if isinstance(model, str) else model.routes
        for place, route in enumerate(routes):
            at: Path_ = (*_MODELS, name, "routes", place) if isinstance(model, ModelSection) else (*_MODELS, name)
            _check_route(it, name, route, at)
    in_circle: set[str] = set()
    for name in it.models:
        _check_degrade(it, name, in_circle)


def _check_route(it: Checked, name: str, route: str, at: Path_) -> None:
    provider, slash, served = route.partition("/")
    if not (slash and provider and served):
        it.report(f"{route!r} must have the form provider/model", *at)
        return
    if ANY in served[:-1] or (served.endswith(ANY) and not name.endswith(ANY)):
        it.report("a '*' may only end a route, of a model whose own name ends with it", *at)
    it.refer(provider, _PROVIDERS, "provider", *at)


def _named_models(it: Checked) -> list[str]:
    """Return the models without the patterns, which stand for names that only a program from outside may choose."""
    return [name for name in it.names(*_MODELS) if not name.endswith(ANY)]


def _check_degrade(it: Checked, name: str, in_circle: set[str]) -> None:
    """Follow what takes a model's place: every name must lead somewhere, and not round and round."""
    models = it.models
    seen = [name]
    while isinstance(model := models[seen[-1]], ModelSection) and model.degrade is not None:
        at = (*_MODELS, seen[-1], "degrade", "to")
        target = model.degrade.to
        if not it.refer(target, _MODELS, "model", *at, among=_named_models(it)):
            return
        if target in seen:
            if target == name and name not in in_circle:  # those that lead into one have no mistake of their own
                in_circle.update(seen)
                it.report(f"models degrade in a circle: {' -> '.join([*seen, target])}", *at)
            return
        seen.append(target)


def _check_unpriced(it: Checked) -> None:
    unpriced = it.config.llm.unpriced
    if isinstance(unpriced, PriceSection):
        at: Path_ = ("llm", "unpriced")
        check_price(unpriced, at, it.report)
        if unpriced.since is not None:
            it.report("what is assumed holds always; leave 'since' out", *at, "since")


def _check_limits(it: Checked) -> None:
    limits = it.config.limits
    for name in it.names("limits", "agents"):
        it.refer_key(name, _AGENTS, "agent", "limits", "agents", besides=it.names("gateway", "keys"))
    for name in it.names("limits", "models"):
        it.refer_key(name, _MODELS, "model", "limits", "models", among=_named_models(it))
    for name in it.names("limits", "providers"):
        it.refer_key(name, _PROVIDERS, "provider", "limits", "providers")
    given: list[Path_] = [path for path in THREAD_TOKENS if path in it.places]
    if len(given) > 1:
        first = ".".join(map(str, given[0]))
        it.report(f"says again what {first!r} on line {it.places[given[0]].line} says; keep one", *given[1])
    # Zones are listed for others alone: it takes 20 ms.
    if limits.time_zone != "UTC" and limits.time_zone not in (known := sorted(available_timezones())):
        meant = did_you_mean(limits.time_zone, known) or "; write one such as Europe/Berlin, or UTC"
        it.report(f"no time zone is called {limits.time_zone!r}{meant}", "limits", "time_zone")


def _check_gateway(it: Checked) -> None:
    gateway = it.config.gateway
    for name in it.names("gateway", "keys"):
        at: Path_ = ("gateway", "keys", name)
        if name == USER or not AGENT_NAME.fullmatch(name):
            it.report_name(f"{name!r} cannot be a key's name: use a letter, then letters, digits, '-' or '_'", *at)
        if name in it.names(*_AGENTS):
            it.report_name(f"an agent is called {name!r} too, so nobody could tell what each has spent", *at)
    if gateway is None:
        return
    for place, model in enumerate(gateway.models):
        it.refer(model, _MODELS, "model", "gateway", "models", place)
    for name, key in gateway.keys.items():
        _check_key(it, key, ("gateway", "keys", name))


def _check_outside(it: Checked) -> None:
    """Check where things are that are opened later: the journal, the daemon, those who receive events."""
    daemon, store = it.config.daemon, it.config.store
    if not _STORE.fullmatch(store) and store != UNSET:
        it.report(f"{store!r} is no place for a journal; write sqlite, postgres or postgresql://HOST/DATABASE", "store")
    if daemon.host not in LOOPBACK:
        it.report(not_loopback(daemon.host), "daemon", "host")
    for place, host in enumerate(daemon.hosts):
        if not _HOST.fullmatch(host):
            it.report(f"{host!r} is no name of a host; write one such as agents.example.com, without port",
                      "daemon", "hosts", place)  # fmt: skip
    if daemon.public_url is not None and not (_is_web_address(daemon.public_url) and "?" not in daemon.public_url):
        it.report("this is no address of a page; write one such as https://agents.example.com", "daemon", "public_url")
    for name, section in it.config.exporters.items():
        if isinstance(section, WebhookExporterSection) and not _is_web_address(section.url):
            # Not shown: it may hold a token.
            it.report("this is no address; write one such as https://billing.example.com/events",
                      "exporters", name, "url")  # fmt: skip


def _check_cluster(it: Checked) -> None:
    """Refuse what several daemons cannot keep, or would keep in two places."""
    cluster = it.config.cluster
    if cluster is None:
        return
    if ("store",) in it.places:
        it.report("the daemons of a cluster keep their journals in cluster.url; leave 'store' out", "store")
    if not cluster.url.startswith(("postgresql://", "postgres://")) and cluster.url != UNSET:
        reason = "a cluster needs the URL of a PostgreSQL database: postgresql://user@host:5432/name, or ${env:NAME}"
        it.report(reason, "cluster", "url")
    if cluster.node not in (None, UNSET) and not THREAD_ID.fullmatch(cluster.node or ""):
        reason = f"{cluster.node!r} cannot be a node's name: use letters, digits, '-' and '_', at most 64"
        it.report(reason, "cluster", "node")
    if cluster.advertise is not None and not _ADVERTISED.fullmatch(cluster.advertise):
        reason = "write only where it is reached, such as http://10.0.0.5:8420, without a path"
        it.report(reason, "cluster", "advertise")
    _check_labels(it, cluster)
    for name, exporter in it.config.exporters.items():
        if isinstance(exporter, JsonLinesExporterSection):
            reason = "partitions move from machine to machine, and a file does not: use a webhook in a cluster"
            it.report(reason, "exporters", name)


def _check_labels(it: Checked, cluster: ClusterSection) -> None:
    for place, label in enumerate(() if cluster.labels == UNSET else listed_labels(cluster.labels)):
        if not is_node_label(label):
            path: Path_ = ("cluster", "labels", place)
            it.report(no_node_label(label), *(path if path in it.places else path[:-1]))
    for label in it.names("cluster", "label_partitions"):
        if not is_node_label(label):
            it.report_name(no_node_label(label), "cluster", "label_partitions", label)
    needed = {agent.node_label for agent in it.config.agents.values() if agent.node_label}
    counts = dict.fromkeys(needed, LABEL_PARTITIONS) | cluster.label_partitions
    if cluster.partitions + sum(counts.values()) > PARTITIONS_MAX:
        reason = f"with those of labels, {', '.join(sorted(counts))}, there are more than {PARTITIONS_MAX} partitions"
        it.report(reason, "cluster", "partitions" if ("cluster", "partitions") in it.places else "label_partitions")


def _check_key(it: Checked, key: GatewayKeySection, at: Path_) -> None:
    if (key.key is None) == (key.sha256 is None):
        it.report("give either the key, as ${env:NAME}, or its sha256", *at)
    if key.sha256 is not None and not _SHA256.fullmatch(key.sha256):
        it.report("this is no hash: write 64 hexadecimal digits, as sha256sum does", *at, "sha256")
    if key.thread is not None and not THREAD_ID.fullmatch(key.thread):
        it.report(f"{key.thread!r} cannot be a thread's id: use letters, digits, '-', '_'", *at, "thread")
