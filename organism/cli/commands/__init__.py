"""The table of commands: each is declared here once, with where its code is; nothing is imported for it.

The overview of ``organism --help``, the suggestions for a mistyped command and the tree of commands are all made from
this table. A command's options and its page of help stand where its code is; the module is imported when the command
is called.
"""

from typing import NamedTuple


class Command(NamedTuple):
    """A command, or a group of commands.

    Attributes:
        name: As it is typed.
        target: ``module:function`` below this package, or ``module:app`` for a group; imported when called.
        summary: What it does, in a sentence; equal to the first sentence of the function's docstring.
        aliases: Other names that call it, shown beside the first.
    """

    name: str
    target: str
    summary: str
    aliases: tuple[str, ...] = ()


SECTIONS: dict[str, tuple[Command, ...]] = {
    "Needed first": (
        Command("init", "init:init", "Write an organism to begin with: commented, with a test of it."),
        Command("check", "check:check", "Check the configuration and show the organism it describes.", ("validate",)),
        Command("run", "run:run", "Run one task and show what happens, then what it cost."),
        Command(
            "resume",
            "run:resume",
            "Continue a run that was stopped, killed or paused by a breaker, or that waits for budget or approval.",
        ),
        Command("daemon", "daemon:daemon", "Serve the HTTP API, the gateway and the dashboard until stopped."),
        Command(
            "ask", "remote.send:ask", "Send a message, wait for the thread to end, and print answers as they come."
        ),
        Command("threads", "remote.threads:threads", "List threads, newest first."),
        Command(
            "budget", "remote.budget:app", "Limits and spend of every account: show, explain, raise, lower, adjust."
        ),
        Command("usage", "usage:app", "Show usage and cost of all that is recorded; write reports."),
        Command("dashboard", "remote.control:dashboard", "Print a link that opens the dashboard."),
    ),
    "Run and replay": (
        Command("exec", "exec:execute", "Run any program under a budget, and show what it cost."),
        Command("models", "models:app", "List and fetch models that run on this machine."),
    ),
    "The daemon": (
        Command("status", "remote.status:status", "Show budgets, the busiest threads and stopped agents."),
        Command("top", "remote.top:top", "Watch budgets live, and raise, pause or end threads from the keyboard."),
        Command("mode", "remote.control:mode", "Change what a reached limit does, until the daemon restarts."),
        Command("freeze", "remote.freeze:freeze", "Stop all spending at once, or that of threads with a label."),
        Command("unfreeze", "remote.freeze:unfreeze", "Let spending go on that was frozen."),
        Command("reload", "remote.control:reload", "Apply the changed configuration: all of it, or nothing."),
        Command(
            "drain",
            "remote.control:drain",
            "Accept no new threads; open threads continue, and the daemon keeps running.",
        ),
        Command("stop", "remote.control:stop", "Stop the daemon: open threads get 30 s, calls in flight are settled."),
    ),
    "Threads and agents": (
        Command("send", "remote.send:send", "Send a message to the daemon and print its thread's id."),
        Command(
            "thread",
            "remote.threads:thread",
            "Show a thread: its budgets, its messages with the cost of each, its child threads.",
        ),
        Command("pause", "remote.threads:pause", "Pause a thread and its children, or an agent everywhere."),
        Command(
            "unpause",
            "remote.threads:unpause",
            "Let a paused thread continue, or an agent that is paused or has failed.",
        ),
        Command(
            "terminate",
            "remote.threads:terminate",
            "End a thread and its children now; calls in flight are charged.",
            ("kill",),
        ),
        Command("agents", "remote.status:agents", "List agents with their state, mailbox and usage."),
        Command(
            "approvals",
            "remote.approvals:app",
            "Decide what agents may do only with a person's approval: list, allow, deny.",
        ),
        Command(
            "dead-letters",
            "remote.dead_letters:app",
            "Messages that could not be delivered or handled: list, retry, discard.",
        ),
        Command(
            "events",
            "remote.events:events",
            "Print the daemon's events, one JSON document a line; --follow prints them as they happen.",
            ("logs",),
        ),
        Command("replay", "replay:replay", "Recalculate a recorded thread with other limits, models or prices."),
    ),
    "Several machines": (
        Command("cluster", "cluster:app", "Nodes and partitions of a cluster: show, drain a node, resume a partition."),
    ),
    "Cost and prices": (
        Command("prices", "prices:app", "Show what models cost, and where the price is known from."),
        Command("ledger", "ledger:app", "Verify or export the ledger; list records set aside."),
    ),
    "Access and integration": (
        Command("token", "remote.tokens:app", "API tokens for programs and people: make, list, revoke."),
        Command("exporters", "remote.exporters:app", "Events that another system refused: list, retry."),
        Command("dashboards", "dashboards:app", "Write the Grafana dashboard and Prometheus alert rules."),
        Command("version", "version:version", "Print the version."),
    ),
}
"""Commands by the heading they stand under in the overview."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "init": ("new", "create"),
    "check": ("config", "doctor", "lint", "verify", "test"),
    "run": ("task",),
    "exec": ("wrap", "spawn", "proxy"),
    "resume": ("continue",),
    "models": ("model", "fetch"),
    "daemon": ("start", "serve", "server", "up"),
    "status": ("info",),
    "top": ("watch", "monitor"),
    "dashboard": ("ui", "web", "open"),
    "freeze": ("halt", "panic", "block"),
    "unfreeze": ("thaw", "unblock"),
    "stop": ("shutdown", "down", "quit", "exit", "restart"),
    "send": ("post",),
    "ask": ("chat", "prompt", "query"),
    "threads": ("ps", "ls", "list", "jobs"),
    "thread": ("show", "get", "inspect", "describe"),
    "terminate": ("cancel", "end", "rm", "delete"),
    "agents": ("agent",),
    "approvals": ("approval",),
    "approvals allow": ("approve", "allow"),
    "approvals deny": ("deny",),
    "dead-letters": ("dlq", "letters", "errors"),
    "dead-letters retry": ("retry",),
    "events": ("log", "tail", "follow"),
    "replay": ("simulate", "whatif", "what-if"),
    "budget": ("budgets", "limit", "limits"),
    "budget raise": ("raise",),
    "budget lower": ("lower",),
    "budget explain": ("explain", "why"),
    "usage report": ("report", "bill"),
    "prices": ("price", "cost", "costs"),
    "ledger": ("journal", "audit", "export"),
    "token": ("tokens", "login", "auth"),
    "cluster": ("nodes", "node", "partitions", "leases"),
    "exporters": ("exporter",),
    "dashboards": ("grafana", "prometheus", "metrics"),
}
"""Names that people try: they call nothing, but lead to a suggestion of the command."""


def every_command() -> tuple[Command, ...]:
    """Return the commands of all sections."""
    return tuple(command for commands in SECTIONS.values() for command in commands)
