"""From organism.yaml to a checked configuration: every name in it leads somewhere, or the error says which does not."""

from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NoReturn, cast
from zoneinfo import ZoneInfo

import msgspec

from organism.config.checking import Checked, nearest
from organism.config.consistency import check
from organism.config.dotenv import DotEnv, read_dotenv
from organism.config.presets import applied
from organism.config.schema.root import Config
from organism.config.yaml.bind import WRONG, Binder
from organism.config.yaml.mistakes import Mistakes, Path_, Source, TextPlace
from organism.config.yaml.nodes import parse_tree, read_text
from organism.errors import ConfigError
from organism.text.credentials import remember_environment

DEFAULT_FILE = "organism.yaml"


class LoadedConfig(msgspec.Struct, frozen=True):
    """A configuration and where each of its values stands.

    Attributes:
        config: The values.
        folder: Where the file is; relative paths start here.
        source: What errors name.
        places: Where each value or its key stands, by its path.
        dotenv: What stands in the ``.env`` beside it; the process's own environment has the last word.
        mark: By which nodes of a cluster tell files apart: twelve digits of a SHA-256 of its text and its limits.
    """

    config: Config
    folder: Path
    source: Source
    places: dict[Path_, TextPlace]
    dotenv: DotEnv = DotEnv()
    mark: str = ""

    def at(self, reason: str, *path: str | int) -> ConfigError:
        """Return a :class:`ConfigError` about the value at a path."""
        return self.source.error(reason, nearest(path, self.places), path)

    def fail(self, reason: str, *path: str | int) -> NoReturn:
        """Raise a :class:`ConfigError` about the value at a path."""
        raise self.at(reason, *path)


def load_config(path: Path, environment: Mapping[str, str]) -> LoadedConfig:
    """Read and check a file.

    Args:
        environment: Where ``${env:NAME}`` is looked up, before the ``.env`` beside the file.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere: every mistake with file, line and column.
    """
    mistakes = Mistakes()
    loaded = read_config(path, environment, mistakes)
    mistakes.refuse()
    return loaded


def read_config(path: Path, environment: Mapping[str, str], mistakes: Mistakes) -> LoadedConfig:
    """Read and check a file as :func:`load_config` does, and keep what is wrong with it: there may be more to say.

    Raises:
        ConfigError: If it cannot be read, or what it holds is not YAML.
    """
    text, folder = read_text(path), path.resolve().parent
    dotenv = read_dotenv(folder / ".env")
    remember_environment({**dotenv, **environment})
    return _parsed(text, LoadedConfig(_NOTHING, folder, Source(str(path)), {}, dotenv), environment, mistakes)


def parse_config(text: str, name: str, folder: Path, environment: Mapping[str, str]) -> LoadedConfig:
    """Check a text as :func:`load_config` checks a file.

    Raises:
        ConfigError: If it is wrong anywhere.
    """
    mistakes = Mistakes()
    loaded = _parsed(text, LoadedConfig(_NOTHING, folder, Source(name), {}), environment, mistakes)
    mistakes.refuse()
    return loaded


_NOTHING = Config(name="", entry="", agents={})


def _parsed(text: str, empty: LoadedConfig, environment: Mapping[str, str], mistakes: Mistakes) -> LoadedConfig:
    variables = ChainMap(cast("dict[str, str]", environment), cast("dict[str, str]", empty.dotenv))
    binder = Binder(empty.source, variables, Config, mistakes)
    try:
        found = binder.bind(parse_tree(text, empty.source, mistakes), _shape())
    except ConfigError as error:  # no YAML from here on: what stands before it is wrong all the same
        mistakes.add(error)
        found = WRONG
    if found is WRONG:
        mistakes.refuse()
    config = applied(cast("Config", found), binder.places)
    check(Checked(config, empty.source, binder.places, mistakes))
    mark = sha256(text.encode() + b"".join(map(msgspec.json.encode, _limits(config)))).hexdigest()[:12]
    return msgspec.structs.replace(empty, config=config, places=binder.places, mark=mark)


def _limits(config: Config) -> Iterator[object]:
    """Yield the limits as they are read: they are in the mark, and a limit that stands in `.env` may change."""
    yield config.limits
    if (gateway := config.gateway) is not None:
        yield from (each for each in (gateway.limits,) if each is not None)
        yield from ((name, key.limits) for name, key in gateway.keys.items() if key.limits is not None)


@cache
def _shape() -> msgspec.inspect.Type:
    """Return what a file may hold; reading it from the types takes ten times as long as checking a file."""
    return msgspec.inspect.type_info(Config)


def time_zone(config: Config) -> ZoneInfo:
    """Return the zone in which days and months begin."""
    return ZoneInfo(config.limits.time_zone)
