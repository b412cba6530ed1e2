"""The clock that dates what is stored: whatever the machine's clock does, periods of budgets open once and in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.clock import SteadyClock

S = 1_000_000_000
START = 1_700_000_000 * S


class Machine:
    """The machine's two clocks, each moved by hand."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 0

    def now_ns(self) -> int:
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic

    def pass_s(self, seconds: float, *, leap: float = 0) -> None:
        """Let time pass, and the wall clock leap beside it."""
        self.monotonic += round(seconds * S)
        self.wall += round((seconds + leap) * S)


def clocks() -> tuple[Machine, SteadyClock]:
    machine = Machine()
    clock = SteadyClock(machine)
    assert clock.now_ns() == START
    return machine, clock


def test_a_clock_that_is_set_back_a_little_stands_still_until_time_has_caught_up() -> None:
    """No instant comes twice, so no day's budget is opened twice; and it stands for five minutes at most."""
    machine, clock = clocks()
    machine.pass_s(1, leap=-300)
    assert clock.now_ns() == START
    machine.pass_s(298)
    assert clock.now_ns() == START
    machine.pass_s(2)
    assert clock.now_ns() == machine.wall == START + 1 * S


@pytest.mark.parametrize("back", [302, 3600, 86_400, 400 * 86_400, 50 * 365 * 86_400])
def test_time_goes_on_evenly_when_the_clock_is_set_back_far(back: int) -> None:
    """However far it is set back, what is due comes, and when the clock is right again nothing leaps."""
    machine, clock = clocks()
    machine.pass_s(1, leap=-back)
    for passed in range(1, 2000, 10):
        assert clock.now_ns() == START + passed * S
        machine.pass_s(10)
    machine.pass_s(0, leap=back)
    assert clock.now_ns() == machine.wall == START + 2001 * S


@pytest.mark.parametrize("back", [302, 86_400])
def test_time_goes_on_also_where_the_clock_stands_just_where_it_was(back: int) -> None:
    """A clock that is behind, and not read until it has come to where it was set back, has not stood still."""
    machine, clock = clocks()
    machine.pass_s(0, leap=-back)
    assert clock.now_ns() == START
    machine.pass_s(back)
    assert clock.now_ns() == START + back * S


@pytest.mark.parametrize("behind", [302, 3600, 86_400, 30 * 86_400, 50 * 365 * 86_400])
def test_a_start_with_a_clock_far_behind_goes_on_from_the_journal(
    behind: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Time begins at the newest instant in the journal and goes on from there at once, and the log says so."""
    machine, clock = clocks()
    floor = START + behind * S
    clock.not_before(floor)
    for passed in range(0, 1000, 7):
        assert clock.now_ns() == floor + passed * S
        machine.pass_s(7)
    assert capsys.readouterr().out.count("clock_behind") == 1


@pytest.mark.parametrize("ahead_days", [401, 1000, 3650, 50 * 365])
def test_a_start_with_a_clock_far_ahead_has_to_prove_it(ahead_days: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A clock that is years ahead of the journal opens no window at once; after ten even minutes it is believed."""
    machine, clock = clocks()
    floor = START - ahead_days * 86_400 * S
    clock.not_before(floor)
    for passed in range(0, 600, 20):
        assert clock.now_ns() == floor + passed * S
        machine.pass_s(20)
    machine.pass_s(20)
    assert clock.now_ns() == machine.wall
    assert capsys.readouterr().out.count("clock_far_ahead") == 1


def test_a_clock_far_ahead_that_is_set_right_in_time_was_never_believed() -> None:
    """Set right within ten minutes, a start with a wrong clock leaves no trace."""
    machine, clock = clocks()
    machine.wall += 3650 * 86_400 * S
    clock.not_before(START)
    machine.pass_s(100)
    assert clock.now_ns() == START + 100 * S
    machine.pass_s(1, leap=-3650 * 86_400)
    assert clock.now_ns() == machine.wall == START + 101 * S


def test_a_small_leap_ahead_is_followed_at_once() -> None:
    """Time servers correct by seconds; that is no error."""
    machine, clock = clocks()
    machine.pass_s(10, leap=299)
    assert clock.now_ns() == START + 309 * S


def test_a_large_leap_ahead_is_followed_only_when_it_has_lasted() -> None:
    """A clock that is wrong for a moment does not open tomorrow's budget today; one that is right in the end does."""
    machine, clock = clocks()
    machine.pass_s(1, leap=86_400)
    assert clock.now_ns() == START + 1 * S
    for _ in range(59):
        machine.pass_s(10)
        assert clock.now_ns() < START + 600 * S
    machine.pass_s(10)
    assert clock.now_ns() == machine.wall
    assert machine.wall > START + 86_400 * S


def test_a_leap_that_is_taken_back_was_never_seen() -> None:
    """A wrong clock that is corrected in time leaves no trace."""
    machine, clock = clocks()
    machine.pass_s(1, leap=86_400)
    clock.now_ns()
    machine.pass_s(300)
    assert clock.now_ns() == START + 301 * S
    machine.pass_s(1, leap=-86_400)
    assert clock.now_ns() == START + 302 * S


def test_an_uneven_clock_is_not_believed() -> None:
    """A clock that leaps again and again has to prove itself anew each time."""
    machine, clock = clocks()
    for _ in range(10):
        machine.pass_s(500, leap=7200)
        assert clock.now_ns() == START + machine.monotonic


def test_after_a_restart_time_goes_on_where_the_journal_ends() -> None:
    """A machine whose clock was set back between two starts shows no instant from before the last one stored."""
    machine, clock = clocks()
    clock.not_before(START + 50 * S)
    assert clock.now_ns() == START + 50 * S
    machine.pass_s(49)
    assert clock.now_ns() == START + 50 * S
    machine.pass_s(2)
    assert clock.now_ns() == START + 51 * S


def test_after_a_restart_days_later_the_machine_is_believed() -> None:
    """There is nothing to measure the time between two processes with but the machine's clock."""
    machine, clock = clocks()
    clock.not_before(START - 5 * 86_400 * S)
    assert clock.now_ns() == START
    machine.pass_s(1)
    assert clock.now_ns() == START + 1 * S


def test_a_suspended_machine_is_believed_after_a_while() -> None:
    """While a laptop sleeps its monotonic clock may stand; its day changes ten minutes after it wakes, not never."""
    machine, clock = clocks()
    machine.pass_s(0, leap=10 * 3600)
    assert clock.now_ns() == START
    machine.pass_s(1)
    clock.now_ns()
    machine.pass_s(601)
    assert clock.now_ns() == machine.wall


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(-100_000, 100_000)), max_size=30), st.integers(0, 10**6))
def test_time_never_goes_back(steps: list[tuple[int, int]], floor: int) -> None:
    """Whatever the machine's clock does, one instant is never before another that was shown earlier."""
    machine, clock = clocks()
    clock.not_before(START + floor * S)
    last = clock.now_ns()
    assert last >= START + floor * S
    for passed, leap in steps:
        machine.pass_s(passed, leap=leap)
        now = clock.now_ns()
        assert now >= last
        last = now
