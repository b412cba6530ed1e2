"""Brings up command lines of organism fast: it has imported everything once, and forks for each of them.

It reads one JSON document a line, ``{"arguments": [...], "folder": "...", "environment": {...}}``, and answers with the
new process's id; the end of each is reported too. A child runs its command line as the installed program does.
"""

import json
import os
import signal
import sys

from killable import arm  # type: ignore[import-not-found]  # beside this program


def warm_up() -> None:
    """Import what a daemon imports."""
    import openai
    import uvicorn  # noqa: F401

    import organism.api.application
    import organism.api.server
    import organism.daemon.process
    import organism.pricing.shipped
    import organism.providers.openai
    import organism.telemetry.metrics.prometheus
    import organism.testing.kill_points  # noqa: F401

    _ = openai.resources.chat.completions.AsyncCompletions  # the SDK imports it at its first use


def say(**document: int) -> None:
    """Report, in one write, so that a handler of signals may do it in the middle of another."""
    os.write(1, json.dumps(document).encode() + b"\n")


def reap(*_: object) -> None:
    """Report children that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        say(dead=pid, code=os.waitstatus_to_exitcode(status))


def become(order: dict[str, object]) -> None:
    """Turn this fresh child into the command that was ordered."""
    from organism.cli.app import call

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(str(order["folder"]))
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    arm()
    log = os.open("stderr.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    code = 70
    try:
        code = call(list(order["arguments"]))  # type: ignore[call-overload]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    warm_up()
    signal.signal(signal.SIGCHLD, reap)
    say(ready=os.getpid())
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            become(json.loads(line))
        say(born=child)
