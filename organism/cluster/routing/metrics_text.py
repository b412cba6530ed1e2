"""Metrics of several partitions as one page: each sample says which partition it is of. Pure.

They are not added up: a partition counts anew where it is taken over, and of a sum that falls a scraper believes that
everything has begun anew. With a label each series begins anew by itself, and sums are the scraper's.
"""

import re
from collections.abc import Mapping

_SAMPLE = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})?( .*)")


def merged_metrics(pages: Mapping[int, bytes]) -> bytes:
    """Return the samples of all pages in Prometheus's text format, by family, each with the label ``partition``."""
    families: dict[str, list[str]] = {}
    heads: dict[str, list[str]] = {}
    for partition, page in sorted(pages.items()):
        family = ""
        for line in page.decode().splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                if line not in (head := heads.setdefault(family, [])):
                    head.append(line)
            elif line and not line.startswith("#") and (found := _SAMPLE.fullmatch(line)) is not None:
                labels = f'partition="{partition}"' + (f",{found[2]}" if found[2] else "")
                families.setdefault(family, []).append(f"{found[1]}{{{labels}}}{found[3]}")
    lines = [line for family, samples in families.items() for line in (*heads.get(family, ()), *samples)]
    return ("\n".join(lines) + "\n").encode()
