"""One task looks after everything that has a deadline."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from organism.runtime.waiting.timers import Timers, sleep_until
from organism.testing import run


def _kept(main: Callable[[Timers], Awaitable[None]]) -> None:
    """Run something beside the task that looks after deadlines."""

    async def beside() -> None:
        timers = Timers()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(timers.run)
            await main(timers)
            tasks.cancel_scope.cancel()

    run(beside)


def test_each_is_called_at_its_time_whatever_was_set_before_and_after() -> None:
    """Functions are called after as many seconds as was said for each, in any order of setting."""
    called: list[tuple[str, float]] = []

    async def main(timers: Timers) -> None:
        began = anyio.current_time()

        def note(name: str) -> Callable[[], None]:
            return lambda: called.append((name, round(anyio.current_time() - began, 6)))

        timers.start(5, note("five"))
        await anyio.sleep(1)
        timers.start(2, note("three"))
        timers.start(5, note("six"))
        timers.start(0, note("one"))
        await anyio.sleep(10)

    _kept(main)
    assert called == [("one", 1), ("three", 3), ("five", 5), ("six", 6)]


def test_what_is_called_off_is_not_called() -> None:
    """A deadline that was called off never passes, and one that has passed can be called off without harm."""
    called: list[str] = []

    async def main(timers: Timers) -> None:
        off, on = timers.start(1, lambda: called.append("off")), timers.start(1, lambda: called.append("on"))
        timers.cancel(off)
        await anyio.sleep(2)
        assert on.passed
        assert not off.passed
        timers.cancel(on)
        last = timers.start(1, lambda: called.append("last"))
        await anyio.sleep(2)
        assert last.passed

    _kept(main)
    assert called == ["on", "last"]


def test_those_that_end_together_are_all_called() -> None:
    """Ten thousand deadlines of one instant are called in the order in which they were set."""
    called: list[int] = []

    async def main(timers: Timers) -> None:
        for number in range(10_000):
            timers.start(1, lambda number=number: called.append(number))  # type: ignore[misc]
        await anyio.sleep(1.5)

    _kept(main)
    assert called == list(range(10_000))


class _Machine:
    """A wall clock that is moved by hand beside the event loop's."""

    def __init__(self) -> None:
        self.leap_s = 0.0

    def now_ns(self) -> int:
        return round((1_800_000_000 + anyio.current_time() + self.leap_s) * 1e9)

    def monotonic_ns(self) -> int:
        return round(anyio.current_time() * 1e9)


@pytest.mark.parametrize(
    ("leap_s", "after_s"),
    [(0, 1000), (-60, 1000), (-86_400, 1000), (600, 400), (86_400, 100), (10, 990)],
)
def test_what_is_due_comes_whatever_the_clock_does(leap_s: float, after_s: float) -> None:
    """Set back, it comes after as long as it was away; set ahead, within half a minute of its instant."""

    async def main() -> None:
        machine = _Machine()
        began = anyio.current_time()
        due_ns = machine.now_ns() + 1000 * 10**9
        async with anyio.create_task_group() as tasks:

            async def leap() -> None:
                await anyio.sleep(100)
                machine.leap_s = leap_s

            tasks.start_soon(leap)
            await sleep_until(due_ns, machine)
            assert after_s - 1 <= anyio.current_time() - began <= after_s + 30

    run(main)
