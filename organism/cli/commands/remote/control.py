"""``organism mode``, ``reload``, ``drain``, ``stop`` and ``dashboard``: orders to the daemon as a whole."""

from typing import Annotated

from cyclopts import Parameter

from organism.api.tokens.token_book import NewToken
from organism.cli.client import RefusedError
from organism.cli.options import DAEMON, DaemonOptions, Json, ModeName
from organism.cli.output import print_answer
from organism.control.views import OrganismStatus, Reloaded
from organism.daemon.state_folder import wait_until_free
from organism.text.plain_text import counted

_LEAVES_WITHIN_S = 5.0
"""So long a daemon that has closed its connections is waited for: one that is started again at once owns the folder."""


def mode(mode: ModeName, *, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Change what a reached limit does, until the daemon restarts.

    Args:
        mode: off only records spend, audit also reports what would be refused, enforce refuses.
    """
    status = daemon.client().order(OrganismStatus, "PUT", "/v1/mode", {"mode": mode})
    return print_answer(status, f"mode {status.mode}", as_json=json)


def reload(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Apply the changed configuration: all of it, or nothing.

    The daemon reads the file again and checks it whole before anything changes. Of a cluster it is this daemon alone,
    with all its partitions: each has a file of its own, and 'organism cluster status' shows which differ.
    """
    done = daemon.client().order(Reloaded, "POST", "/v1/reload")
    return print_answer(done, "\n".join(done.changes) or "nothing has changed", as_json=json)


def drain(
    *,
    daemon: DaemonOptions = DAEMON,
    undo: Annotated[bool, Parameter(help="Accept new threads again.")] = False,
    json: Json = False,
) -> int:
    """Accept no new threads; open threads continue, and the daemon keeps running."""
    client = daemon.client()
    if undo:
        return print_answer(client.order(OrganismStatus, "DELETE", "/v1/drain"), "takes new threads", as_json=json)
    status = client.order(OrganismStatus, "POST", "/v1/drain", {"within_seconds": 0})
    left = status.threads.open + status.threads.blocked + status.threads.paused
    text = f"takes no new threads; {counted(left, 'thread is left', 'threads are left')}"
    return print_answer(status, text, as_json=json)


def stop(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Stop the daemon: open threads get 30 s, calls in flight are settled.

    Returns when it has stopped.
    """
    client = daemon.client()
    stream = client.follow(types=["AgentSaid"])
    next(stream)  # of what agents say nothing comes unless it is asked for, so that the stream is quiet until its end
    status = client.order(OrganismStatus, "POST", "/v1/stop")
    try:
        for _ in stream:
            pass
    except RefusedError:
        pass  # its connections are cut at its end
    # Its process has to end after them: the next command would find the folder owned.
    wait_until_free(daemon.folder, _LEAVES_WITHIN_S)
    return print_answer(status, "stopped", as_json=json)


def dashboard(*, daemon: DaemonOptions = DAEMON, json: Json = False) -> int:
    """Print a link that opens the dashboard.

    The link holds a session of some hours, so keep it to yourself.
    """
    client = daemon.client()
    session = client.order(NewToken, "POST", "/v1/sessions")
    # What follows the # never leaves the browser.
    link = f"{client.url}/#session={session.secret}"
    return print_answer({"url": link, "expires_ns": session.expires_ns}, link, as_json=json)
