"""A daemon that is killed again and again, at every point and at any: nothing is lost, nothing done or paid twice."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from organism.testing.kill_points import IN_TRANSACTION, POINTS
from organism.usage.events import ApprovalDecided
from tests.killing.cell import Cell, Plan
from tests.killing.lives import Midwife

pytestmark = [pytest.mark.anyio, pytest.mark.killing]

COLD = 30
"""Kills of processes that were started as a user starts them, and not forked from a warm one."""

CELLS = 3
"""Daemons at a time."""


def plans(chance: random.Random) -> Iterator[Plan]:
    """Yield ways to die for ever: every point in turn, and as often at the provider's door and at any moment."""
    while True:
        for point in chance.sample(POINTS, len(POINTS)):
            # The first transactions of a life are those of its beginning.
            yield Plan(point=f"{point}:{chance.randint(1, 30)}" if point == IN_TRANSACTION else point)
            if chance.random() < 0.5:
                yield Plan(request=chance.randint(1, 8), answering=chance.random() < 0.5)
            else:
                yield Plan(after_s=chance.uniform(0.1, 1.0))


async def live_through(cells: list[Cell], kills: int, seed: int) -> Counter[str]:
    """Kill each cell's daemon its share of times, and return how often each way to die was met."""
    ways = plans(random.Random(seed))
    async with anyio.create_task_group() as tasks:
        for number, cell in enumerate(cells):
            share = kills // len(cells) + (number < kills % len(cells))
            tasks.start_soon(cell.run, [next(ways) for _ in range(share)])
    return sum((cell.kills for cell in cells), Counter())


def report(cells: list[Cell], kills: Counter[str]) -> list[str]:
    """Compare all books, and say the figures."""
    findings, recorded, billed, calls, grants = [], 0, 0, 0, 0
    for cell in cells:
        audit, wrong = cell.audit()
        findings += wrong
        recorded += sum(amounts.tokens for amounts in audit.recorded().values())
        billed += cell.provider.billed.total
        calls += len(cell.provider.bill)
        grants += sum(isinstance(event, ApprovalDecided) and event.allowed for event in audit.events)
    threads = sum(len(cell.promises) for cell in cells)
    freezes = sum(cell.orders.freezes for cell in cells)
    print(  # noqa: T201 - shown with -s, and of interest where it is
        f"\n{kills.total()} kills, {threads} threads, {calls} billed calls, {billed} tokens billed, "
        f"{recorded - billed} recorded above that, "
        f"{freezes} freezes, {grants} grants, {len(findings)} findings"
    )
    return findings


async def test_nothing_is_lost_doubled_or_forgotten_however_often_the_daemon_is_killed(
    tmp_path: Path, kills: int, seed: int
) -> None:
    """Through hundreds of kills, at every named point and any moment: all that was promised is kept, in order, once."""
    cells = []
    async with Midwife(warm=True) as midwife:
        for number in range(CELLS):
            (tmp_path / f"{number}").mkdir()
            cells.append(Cell(f"c{number}", tmp_path / f"{number}", midwife, seed + number))
        died = await live_through(cells, kills, seed)

    assert report(cells, died) == []
    assert set(died) >= {*POINTS, "provider.asked", "provider.answering", "chance"} or kills < 3 * len(POINTS)


async def test_daemon_started_by_hand_survives_kills_just_as_well(tmp_path: Path, seed: int) -> None:
    """The same for processes that begin from nothing, as ``python -m organism daemon`` does."""
    async with Midwife(warm=False) as midwife:
        cell = Cell("cold", tmp_path, midwife, seed)
        died = await live_through([cell], COLD, seed)

    assert report([cell], died) == []
    assert died.total() == COLD
