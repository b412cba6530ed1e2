"""A daemon of ``organism cluster dev``: the configuration of the file, as one node of a cluster.

``python -m organism.cli.programs.dev_node FILE STATE DATABASE NODE LABELS``
"""

import os
import sys
from pathlib import Path

from msgspec.structs import replace

from organism.cli import exit_codes
from organism.config.load import LoadedConfig
from organism.config.schema.root import ClusterSection
from organism.daemon.process import run_daemon


def main(file: str, state: str, database: str, node: str, labels: str) -> int:
    """Run until a signal or an order stops it; an error that somebody can correct is one line."""

    def as_node(loaded: LoadedConfig) -> LoadedConfig:
        known = loaded.config.cluster or ClusterSection(url=database)
        section = replace(known, url=database, node=node, advertise=None, labels=labels)
        return replace(loaded, config=replace(loaded.config, cluster=section))

    try:
        run_daemon(Path(file), Path(state), 0, None, dict(os.environ), as_node)
    except Exception as error:  # noqa: BLE001 - what is no error of organism's own is raised again
        return exit_codes.explain(error)
    return exit_codes.OK


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
