"""A process that has imported the whole command line once, and forks for each command that is to be run.

A command starts in some milliseconds so, instead of a second. Orders come over a socket: arguments, folder and
environment as JSON, with the descriptors that are to be its input, output and errors, and one on which its number and
at its end its exit code are written. What runs is `organism.cli.app.main`, as in a process of its own.
"""

import json
import os
import signal
import socket
import sys


def warm_up() -> None:
    """Import what commands and the daemon import."""
    import organism.api.application
    import organism.api.routes.metrics
    import organism.api.routes.pages
    import organism.api.server
    import organism.daemon.process
    import organism.gateway.routes
    import organism.providers.openai
    import organism.telemetry.metrics.prometheus  # noqa: F401
    from organism.cli.app import command_tree
    from organism.cli.commands import every_command

    for command in every_command():
        _ = command_tree()[command.name]


def run(order: dict[str, object], descriptors: list[int]) -> None:
    """Turn this process into the command that was ordered."""
    for place, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, place)
    for descriptor in descriptors:
        os.close(descriptor)
    # As the interpreter opens them: what was open before knows of another file, such as whether one can seek in it.
    sys.stdin, sys.stdout = os.fdopen(0, "r"), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    os.environ.clear()
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    os.chdir(str(order["folder"]))
    sys.argv = ["organism", *order["arguments"]]  # type: ignore[misc]
    from organism.cli.app import main

    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def attend(order: dict[str, object], descriptors: list[int]) -> None:
    """Fork the command, tell its number, wait for its end and tell its exit code."""
    # Tests that run in the background, or under nohup, ignore SIGINT and SIGHUP, and what they start would too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    if (child := os.fork()) == 0:
        run(order, descriptors)
    status = descriptors[3]
    for descriptor in descriptors[:3]:
        os.close(descriptor)  # or whoever reads the command's output would wait for us too
    os.write(status, f"{child}\n".encode())
    _, ended = os.waitpid(child, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    orders = socket.socket(fileno=int(sys.argv[1]))
    sys.path[0] = ""
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever attends a command is not waited for
    while True:
        written, passed, _, _ = socket.recv_fds(orders, 1_000_000, 4)
        if not written:
            break
        if os.fork() == 0:
            orders.close()
            attend(json.loads(written), list(passed))
        for one in passed:
            os.close(one)
