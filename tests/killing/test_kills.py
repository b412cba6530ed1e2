"""A daemon that is killed again and again, at every point and at any: nothing is lost, nothing done or paid twice."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
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

Record = Callable[[str, object], None]
"""Of pytest: notes a figure, which ``python -m tests.faults`` compares with its pass line."""

CELLS = 3
"""Daemons at a time."""


AGAIN = 60
"""More kills at most, for ways to die that were not met."""

EVERY_WAY = {
    **{point: Plan(point=f"{point}:10" if point == IN_TRANSACTION else point) for point in POINTS},
    "provider.asked": Plan(request=1),
    "provider.answering": Plan(request=1, answering=True),
    "chance": Plan(after_s=0.5),
}


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
    """Kill the cells' daemons so many times in all, and return how often each way to die was met."""
    ways = enough_ways(random.Random(seed), kills, lambda: sum((cell.kills for cell in cells), Counter()))
    async with anyio.create_task_group() as tasks:
        for cell in cells:
            tasks.start_soon(cell.run, ways)
    return sum((cell.kills for cell in cells), Counter())


def enough_ways(chance: random.Random, kills: int, met: Callable[[], Counter[str]]) -> Iterator[Plan]:
    """Yield so many ways to die, and then again those that none has met: on a busy machine a life may end before."""
    yield from islice(plans(chance), kills)
    for _ in range(AGAIN if kills >= 3 * len(POINTS) else 0):
        died = met()
        missed = [way for way in EVERY_WAY if way not in died]
        if not missed:
            return
        yield EVERY_WAY[chance.choice(missed)]


def report(cells: list[Cell], kills: Counter[str], record_property: Record) -> list[str]:
    """Compare all books, and say the figures."""
    findings, recorded, billed, calls, grants, met = [], 0, 0, 0, 0, Counter[str]()
    for cell in cells:
        audit, wrong = cell.audit()
        findings += wrong
        met += cell.met
        recorded += sum(amounts.tokens for amounts in audit.recorded().values())
        billed += cell.provider.billed.total
        calls += len(cell.provider.bill)
        grants += sum(isinstance(event, ApprovalDecided) and event.allowed for event in audit.events)
    threads = sum(len(cell.promises) for cell in cells)
    freezes = sum(cell.orders.freezes for cell in cells)
    print(  # noqa: T201 - shown with -s, and of interest where it is
        f"\n{kills.total()} kills, {threads} threads, {calls} billed calls, {billed} tokens billed, "
        f"{recorded - billed} recorded above that, "
        f"{freezes} freezes, {grants} grants, {met['a threshold let pass']} thresholds let pass, "
        f"{met['stopped in mid-stream']} streams stopped, {met['BreakerTripped']} breakers tripped, "
        f"{len(findings)} findings"
    )
    record_property("kills", kills.total())
    record_property("findings", len(findings))
    record_property("recorded less than billed", max(0, billed - recorded))
    return findings


async def test_nothing_is_lost_doubled_or_forgotten_however_often_the_daemon_is_killed(
    tmp_path: Path, kills: int, seed: int, record_property: Record
) -> None:
    """Through hundreds of kills, at every named point and any moment: all that was promised is kept, in order, once."""
    cells = []
    async with Midwife(warm=True) as midwife:
        for number in range(CELLS):
            (tmp_path / f"{number}").mkdir()
            cells.append(Cell(f"c{number}", tmp_path / f"{number}", midwife, seed + number))
        died = await live_through(cells, kills, seed)

    assert report(cells, died, record_property) == []
    assert set(died) >= set(EVERY_WAY) or kills < 3 * len(POINTS)


async def test_daemon_started_by_hand_survives_kills_just_as_well(
    tmp_path: Path, seed: int, record_property: Record
) -> None:
    """The same for processes that begin from nothing, as ``python -m organism daemon`` does."""
    async with Midwife(warm=False) as midwife:
        cell = Cell("cold", tmp_path, midwife, seed)
        died = await live_through([cell], COLD, seed)

    assert report([cell], died, record_property) == []
    assert died.total() == COLD
