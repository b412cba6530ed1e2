"""Metrics of several partitions as one page: each sample says which partition it is of. Pure.

They are not added up: a partition counts anew where it is taken over, and of a sum that falls a scraper believes that
everything has begun anew. With a label each series begins anew by itself, and sums are the scraper's.
"""

import re
from collections.abc import Iterable, Mapping

_END = "# EOF"
"""The last line of a page in OpenMetrics, without which none is believed to be whole."""

_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?( .*)")


def merged_metrics(pages: Mapping[int, bytes], nodes: Iterable[bytes] = ()) -> bytes:
    """Return the samples of all pages in their format, by family.

    Args:
        pages: Those of the partitions; each of their samples gets the label ``partition``.
        nodes: Those of the nodes; they say themselves of which one they are.
    """
    families: dict[str, list[str]] = {}
    heads: dict[str, list[str]] = {}
    ends = False
    for partition, page in [*sorted(pages.items()), *((None, page) for page in nodes)]:
        family = ""
        for line in page.decode().split("\n"):
            ends = ends or line == _END
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                if line not in (head := heads.setdefault(family, [])):
                    head.append(line)
            elif line and not line.startswith("#") and (found := _SAMPLE.fullmatch(line)) is not None:
                families.setdefault(family, []).append(line if partition is None else _of_partition(partition, found))
    lines = [line for family, samples in families.items() for line in (*heads.get(family, ()), *samples)]
    return ("\n".join([*lines, _END] if ends else lines) + "\n").encode()


def _of_partition(partition: int, found: re.Match[str]) -> str:
    labels = f'partition="{partition}"' + (f",{found[2]}" if found[2] else "")
    return f"{found[1]}{{{labels}}}{found[3]}"
