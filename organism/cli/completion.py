"""Names that the shell completes: threads, agents and models of the organism in this folder."""

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from organism.cli.options import DEFAULT_FILE, DaemonOptions

if TYPE_CHECKING:
    from cyclopts.completion import CompletionContext

    from organism.config.schema.root import Config

_THREADS_MAX = 200


def thread_ids(context: "CompletionContext") -> dict[str, str]:
    """Return the open threads of the daemon, the newest first, with what they do; none if no daemon runs.

    What this raises the library swallows: a shell that completes shows no errors.
    """
    from organism.control.views import ThreadPage

    state = _given(context, "state")
    daemon = DaemonOptions(file=_file(context), state=Path(state) if state else None)
    page = daemon.client().ask(ThreadPage, "/v1/threads", limit=_THREADS_MAX)
    return {thread.thread_id: thread.state for thread in page.threads}


def agent_names(context: "CompletionContext") -> dict[str, str]:
    """Return the agents that the configuration names."""
    return dict.fromkeys(_configured(context).agents, "agent")


def model_names(context: "CompletionContext") -> dict[str, str]:
    """Return the models that the configuration names."""
    return dict.fromkeys(_configured(context).llm.models, "model")


def node_names(context: "CompletionContext") -> dict[str, str]:
    """Return the nodes of the cluster whose database is given or configured, and whether each runs."""
    from organism.cli.ledger_sources import NamedConfig
    from organism.stores.postgres.lease_table import LeaseTable

    url = _given(context, "database") or NamedConfig.read(_file(context)).database()
    with closing(LeaseTable(url or "", name="", node="", partitions=0)) as table:
        return {node.name: "running" if node.live else "silent" for node in table.look().nodes}


def _configured(context: "CompletionContext") -> "Config":
    from organism.config.load import load_config

    return load_config(_file(context), dict(os.environ)).config


def _file(context: "CompletionContext") -> Path:
    given = _given(context, "file")
    return Path(given) if given else DEFAULT_FILE


def _given(context: "CompletionContext", name: str) -> str | None:
    try:
        return context[name].raw
    except KeyError:
        return None


ThreadName = Annotated[str, Parameter(completer=thread_ids)]
"""A thread's id on a command line."""

AgentName = Annotated[str, Parameter(completer=agent_names)]
"""An agent's name on a command line."""

ModelName = Annotated[str, Parameter(completer=model_names)]
"""A model's name on a command line."""

NodeName = Annotated[str, Parameter(completer=node_names)]
"""A cluster's node on a command line."""
