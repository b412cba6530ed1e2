"""``organism dashboards``: what Grafana and Prometheus show and watch."""

from pathlib import Path

from cyclopts import App

from organism.cli.options import Json
from organism.cli.output import print_lines
from organism.telemetry.dashboards import export as write_dashboards

app = App(name="dashboards")


@app.command
def export(folder: Path, *, json: Json = False) -> int:
    """Write the Grafana dashboard and the Prometheus alert rules into a folder.

    Args:
        folder: Where to; made if it is not there.
    """
    return print_lines([str(path) for path in write_dashboards(folder)], as_json=json)
