"""A daemon that is killed again and again, at every point and at any: nothing is lost, nothing done or paid twice."""

from pathlib import Path

import pytest

from organism.testing.kill_points import POINTS
from tests.killing.cell import Cell, Plan
from tests.killing.lives import Midwife

pytestmark = pytest.mark.anyio


async def test_a(tmp_path: Path) -> None:
    """Try."""
    async with Midwife(warm=True) as midwife:
        cell = Cell("c", tmp_path, midwife, 1)
        await cell.run([*(Plan(point=p) for p in POINTS), *(Plan(request=n, answering=n%2==0) for n in range(1,7)), *(Plan(after_s=cell.chance.uniform(0.1,1)) for _ in range(10))])
    audit, wrong = cell.audit()
    print(cell.kills, audit.entries, len(audit.events), len(cell.promises), len(cell.provider.bill), sum(u.total for u in cell.provider.bill))
    assert wrong == []
