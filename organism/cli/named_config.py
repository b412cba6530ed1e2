"""What a command goes by while no daemon runs: the configuration, read once, of which it needs little."""

import os
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path

from organism.config.load import LoadedConfig, load_config, time_zone
from organism.config.yaml.mistakes import Mistakes, Source
from organism.config.yaml.nodes import Scalar, parse_tree, read_text
from organism.daemon.journal_file import database_url
from organism.errors import ConfigError


@dataclass(frozen=True)
class NamedConfig:
    """What the configuration says about the journal.

    Attributes:
        file: The file.
        environment: The process's environment when it was read.
        found: What it holds, or what is wrong with it.
    """

    file: Path
    environment: dict[str, str]
    found: LoadedConfig | ConfigError

    @classmethod
    def read(cls, file: Path) -> "NamedConfig":
        """Read it; what is wrong with it is raised where it is asked for, if that cannot be known."""
        environment = dict(os.environ)
        try:
            return cls(file, environment, load_config(file, environment))
        except ConfigError as error:
            return cls(file, environment, error)

    @property
    def is_node(self) -> bool:
        """Whether it is that of a cluster's node."""
        return isinstance(self.found, LoadedConfig) and self.found.config.cluster is not None

    @property
    def time_zone(self) -> tzinfo:
        """Where days begin; UTC, as where it says nothing, if it is wrong."""
        return time_zone(self.found.config) if isinstance(self.found, LoadedConfig) else UTC

    def database(self) -> str | None:
        """Return the URL of the database that the journal is in; a file's journal is read without a configuration too.

        Raises:
            ConfigError: If the journal is in a database, and nothing says in which; or the configuration is wrong
                somewhere, and does not say that the journal is in a file.
        """
        if isinstance(self.found, LoadedConfig):
            return database_url(self.found, self.environment)
        if not _keeps_a_file(self.file):
            raise self.found
        return None


def _keeps_a_file(path: Path) -> bool:
    """Whether a configuration that is wrong still tells that its journal is a file: by having no ``store``."""
    if not path.exists():
        return True  # a state folder is read without its configuration
    store = parse_tree(read_text(path), Source(str(path)), Mistakes()).entries.get("store")
    return store is None or (isinstance(store, Scalar) and store.text == "sqlite")
