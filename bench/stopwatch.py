"""Measures a piece of work: by the clock on the wall, and in time of the processor, which others do not disturb."""

import gc
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

Figures = dict[str, float]
"""What one side of a workload has measured, by name; the units are in the names."""


class Stopwatch:
    """Runs for the length of a ``with`` block.

    Garbage is collected before. The first full collection of a process looks through all that its imports have made,
    for 20 ms: it would fall into what is measured, half of a small workload and nothing of a large one.

    Attributes:
        wall_s: Seconds on the wall.
        cpu_s: Seconds of the processor, of all threads of this process.
    """

    def __enter__(self) -> Self:
        gc.collect()
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu

    def per(self, items: int) -> Figures:
        """Return items a second, and microseconds of the processor for each."""
        return {"per_s": items / self.wall_s, "cpu_us": self.cpu_s / items * 1e6}


def cpu_s_of(pid: int) -> float:
    """Return how many seconds of the processor another process has used; the kernel counts them in hundredths."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(samples: list[float], per_cent: int) -> float:
    """Return the sample that so many per cent do not exceed."""
    return sorted(samples)[min(len(samples) - 1, len(samples) * per_cent // 100)]
