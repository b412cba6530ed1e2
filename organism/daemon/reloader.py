"""Reading the configuration again: the new file is checked whole and put in force whole, or nothing is changed."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from organism.app import Organism
from organism.concurrency.own_threads import OwnThreads
from organism.config.build.spec import build
from organism.config.load import LoadedConfig, load_config
from organism.config.reuse import Reusable
from organism.config.schema.root import Config
from organism.control.organism_spec import OrganismSpec
from organism.control.views import Reloaded
from organism.daemon.file_safety import refuse_foreign_file
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import ConfigError

_FIXED = ("name", "journal", "daemon", "exporters")
"""Keys that belong to the process: events are told apart by the name, the others are open files and sockets."""


class Reloader:
    """Reads a file again and puts it in force.

    Args:
        organism: Whose configuration it is.
        file: The file.
        loaded: What is in force.
        environment: Where ``${env:NAME}`` is looked up.
        progress: Told what takes long.
        on_loaded: Told of a new configuration in the step that puts it in force; must not fail.
    """

    def __init__(
        self,
        organism: Organism,
        file: Path,
        loaded: LoadedConfig,
        environment: dict[str, str],
        progress: Callable[[str], None],
        on_loaded: Callable[[LoadedConfig], None],
    ) -> None:
        self._organism = organism
        self._file = file
        self._loaded = loaded
        self._environment = environment
        self._progress = progress
        self._on_loaded = on_loaded
        self._turn = anyio.Lock()
        self._preparing = OwnThreads()

    async def __call__(self) -> Reloaded:
        """Do it; one after another where several ask for it.

        Raises:
            ConfigError: If the file is wrong anywhere, or changes what only a restart can. Nothing was changed.
            MissingExtraError: If it needs a package that is not installed. Nothing was changed.
            StoppedError: If the organism is stopping. Nothing was changed.
        """
        async with self._turn:
            # Handlers are imported, which may take its time: everybody else's messages shall not wait for it.
            fresh, parts = await self._preparing.run(self._prepare)
            before = self._loaded
            self._organism.control.apply_spec(parts)
            self._loaded = fresh
            self._on_loaded(fresh)
            return Reloaded(tuple(_changes(before.config, fresh.config)))

    def _prepare(self) -> tuple[LoadedConfig, OrganismSpec]:
        """Read, check and build everything that the file says, beside what is in force."""
        importable = list(sys.path)
        try:
            refuse_foreign_file(self._file)
            fresh = load_config(self._file, self._environment)
            changed = [key for key in _FIXED if getattr(fresh.config, key) != getattr(self._loaded.config, key)]
            if (fresh.config.gateway is None) != (self._loaded.config.gateway is None):
                changed.append("whether there is a gateway")
            gateway_settings(fresh)  # what is wrong with its keys shows here, where nothing is changed yet
            if changed:
                raise ConfigError(
                    f"a running daemon cannot change {', '.join(changed)}, so nothing was changed; restart it for that",
                    where=str(self._file),
                )
            return fresh, build(fresh, self._environment, self._progress, None, self._kept())
        except BaseException:
            sys.path[:] = importable
            raise

    def _kept(self) -> Reusable:
        organism = self._organism
        return Reusable(
            config=self._loaded.config,
            agents=organism.agents,
            providers=organism.providers,
            tool_servers=organism.tool_servers.by_name,
        )


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
