"""The daemon: an organism with its HTTP API, its gateway and its exporters, run until it is stopped.

A program that has an event loop of its own embeds it::

    async with Daemon("organism.yaml") as daemon:
        result = await daemon.organism.run("Write about tides")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from organism.daemon.daemon import Daemon, DaemonHooks

__all__ = ["Daemon", "DaemonHooks"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: clients of a daemon need only its state folder.

    Raises:
        AttributeError: If there is none of that name.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from organism.daemon import daemon

    return getattr(daemon, name)
