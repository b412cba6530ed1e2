"""How much memory a process takes at most while something is done, as Linux counts it: nothing is slowed down by it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SELF = Path("/proc/self")


class Peak:
    """The most that was taken above the beginning.

    Attributes:
        mib: In MiB, once it is over.
    """

    mib = 0.0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the resident memory of this process."""
    peak = Peak()
    (_SELF / "clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _status("VmRSS")
    try:
        yield peak
    finally:
        peak.mib = round((_status("VmHWM") - before) / 1024, 1)


def _status(name: str) -> int:
    lines = (_SELF / "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
