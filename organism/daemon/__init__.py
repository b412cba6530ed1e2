"""The daemon: an organism with its HTTP API, its gateway and its exporters, run until it is stopped.

A program that has an event loop of its own embeds it::

    async with Daemon("organism.yaml") as daemon:
        result = await daemon.organism.run("Write about tides")
"""

from typing import TYPE_CHECKING

from organism.moved import lazy

if TYPE_CHECKING:
    from organism.daemon.daemon import Daemon, DaemonHooks

__all__ = ["Daemon", "DaemonHooks"]

# Clients of a daemon need only its state folder.
__getattr__ = lazy(__name__, dict.fromkeys(__all__, "organism.daemon.daemon"))
