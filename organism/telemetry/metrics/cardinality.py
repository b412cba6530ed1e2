"""A bound on the series of each metric, so that no label can fill the memory of a metrics backend."""

from organism.telemetry.metrics.instruments import Instrument

SERIES_MAX = 1000
"""Label sets per metric; any beyond are counted together under ``other``."""

OTHER = "other"


class CardinalityLimit:
    """Lets the first label sets of each metric through and makes one of the rest.

    Args:
        series_max: Label sets per metric, without the one for the rest.
    """

    def __init__(self, series_max: int = SERIES_MAX) -> None:
        self._series_max = series_max
        self._known: dict[str, set[tuple[str, ...]]] = {}

    def admit(self, instrument: Instrument, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the labels to count under: these, or ``other`` for each."""
        known = self._known.setdefault(instrument.name, set())
        if labels in known:
            return labels
        if len(known) >= self._series_max:
            return (OTHER,) * len(labels)
        known.add(labels)
        return labels
