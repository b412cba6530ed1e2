"""The Grafana dashboard and the alert rules that come with the package, written out for those who provision them."""

from importlib.resources import files
from pathlib import Path

from organism.errors import ConfigError

DASHBOARD = "organism-dashboard.json"
ALERTS = "organism-alerts.yaml"


def shipped(name: str) -> str:
    """Return the text of one of the files."""
    return (files("organism.telemetry") / "grafana" / name).read_text(encoding="utf-8")


def export(folder: Path) -> tuple[Path, ...]:
    """Write the files into a folder, over older ones of the same names, and return their paths.

    Raises:
        ConfigError: If it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name in (DASHBOARD, ALERTS):
            path = folder / name
            path.write_text(shipped(name), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise ConfigError(f"cannot write: {error.strerror}", where=str(folder)) from None
    return tuple(written)
