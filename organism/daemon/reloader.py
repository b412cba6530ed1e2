"""Reads the configuration again: the new file is checked whole and applied whole, or nothing is changed."""

import sys
from collections.abc import Awaitable, Callable, Mapping

import anyio

from organism.concurrency.own_threads import OwnThreads
from organism.config.build.spec import build
from organism.config.load import LoadedConfig
from organism.config.reuse import Reusable
from organism.config.schema.root import Config
from organism.control.components import Components, OrganismSpec
from organism.control.control import Control
from organism.control.idempotency import Order
from organism.control.views import Reloaded
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import ConfigError

_FIXED = ("name", "store", "journal", "daemon", "exporters")
"""Keys that belong to the process: events are told apart by the name, the others are open files and sockets."""

Apply = Callable[[Control, OrganismSpec, Order, Callable[[], None]], Awaitable[None]]
"""Applies a spec, and calls a function in the same step."""


async def apply_here(control: Control, spec: OrganismSpec, _order: Order, applied: Callable[[], None]) -> None:
    """Apply a spec to the one organism of a daemon."""
    control.apply_spec(spec)
    applied()


class Reloader:
    """Reads the file again and applies it: the reload source.

    Args:
        load: Reads and checks the file.
        environment: Where ``${env:NAME}`` is looked up.
        progress: Called with a line about what takes long.
        apply: Applies what it says.
    """

    def __init__(
        self,
        load: Callable[[], LoadedConfig],
        loaded: LoadedConfig,
        environment: dict[str, str],
        progress: Callable[[str], None],
        apply: Apply = apply_here,
    ) -> None:
        self._load = load
        self._loaded = loaded
        self._environment = environment
        self._progress = progress
        self._apply = apply
        self._listeners: tuple[Callable[[LoadedConfig], None], ...] = ()
        self._turn = anyio.Lock()
        self._preparing = OwnThreads()

    def subscribe(self, on_loaded: Callable[[LoadedConfig], None]) -> None:
        """Have a function called with a new configuration in the step that applies it; it must not fail."""
        self._listeners = (*self._listeners, on_loaded)

    async def __call__(self, control: Control, order: Order) -> Reloaded:
        """Read the file and apply it; one after another where several ask for it.

        Raises:
            ConfigError: If the file is wrong anywhere, or changes what only a restart can. Nothing was changed.
            MissingExtraError: If it needs a package that is not installed. Nothing was changed.
            StoppedError: If the organism is stopping. Nothing was changed.
        """
        async with self._turn:
            # Handlers are imported, which may take its time: everybody else's messages shall not wait for it.
            fresh, parts = await self._preparing.run(self._prepare, control.components)
            before = self._loaded

            def applied() -> None:
                self._loaded = fresh
                for on_loaded in self._listeners:
                    on_loaded(fresh)

            await self._apply(control, parts, order, applied)
            return Reloaded(tuple(_changes(before.config, fresh.config)))

    def _prepare(self, running: Components) -> tuple[LoadedConfig, OrganismSpec]:
        """Read, check and build everything that the file says, beside what is active."""
        active = self._loaded.config
        importable = list(sys.path)
        try:
            fresh = self._load()
            changed = _fixed_changes(active, fresh.config)
            if (fresh.config.gateway is None) != (active.gateway is None):
                changed.append("whether there is a gateway")
            gateway_settings(fresh)  # what is wrong with its keys shows here, where nothing is changed yet
            if changed:
                raise ConfigError(
                    f"a running daemon cannot change {', '.join(changed)}, so nothing was changed; restart it for that",
                    where=fresh.source.name,
                )
            return fresh, build(fresh, self._environment, self._progress, None, self._reusable(running))
        except BaseException:
            sys.path[:] = importable
            raise

    def _reusable(self, running: Components) -> Reusable:
        return Reusable(
            config=self._loaded.config,
            agents=running.active.agents,
            providers=running.router.providers,
            tool_servers=running.tool_servers.by_name,
        )


def _fixed_changes(before: Config, after: Config) -> list[str]:
    """Name what differs and belongs to the process; of the cluster, which key: the rest of it may be as it was."""
    found = [key for key in _FIXED if getattr(before, key) != getattr(after, key)]
    old, new = before.cluster, after.cluster
    if old is None or new is None:
        return found if old is new else [*found, "whether it is a node of a cluster"]
    return found + [f"cluster.{key}" for key in new.__struct_fields__ if getattr(old, key) != getattr(new, key)]


def _changes(before: Config, after: Config) -> list[str]:
    """Say what differs: a key, and where it holds things by name, which of them."""
    found = []
    for key in after.__struct_fields__:
        old, new = getattr(before, key), getattr(after, key)
        if old == new:
            continue
        if key == "llm":
            parts = ((f"llm.{name}", getattr(old, name), getattr(new, name)) for name in new.__struct_fields__)
            found += [_change(name, was, now) for name, was, now in parts if was != now]
        else:
            found.append(_change(key, old, new))
    return found


def _change(key: str, old: object, new: object) -> str:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return f"{key} changed"
    told = [f"{name} is new" for name in new if name not in old]
    told += [f"{name} changed" for name in new if name in old and new[name] != old[name]]
    told += [f"{name} is gone" for name in old if name not in new]
    return f"{key}: {', '.join(told)}" if told else f"{key} changed"
