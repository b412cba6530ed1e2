"""Usage of a period, added up from the stored events: page by page, and beside the event loop."""

from collections.abc import Callable

from organism.api.problems import Problem, ProblemError
from organism.api.streams import Reader
from organism.billing.bill import read_bill
from organism.billing.period import GroupedSums, Period, PeriodReport, PeriodSums
from organism.billing.reconciliation import BillComparison, BillDifference
from organism.concurrency.own_threads import OwnThreads
from organism.control.control import Control
from organism.control.views import By, Usage
from organism.usage.events import AnyEvent
from organism.usage.instants import zone_of

_ADDING = OwnThreads()
"""One page after the other is added up, of all who ask: a page takes some tens of milliseconds."""


async def asked_period(
    control: Control, since: str | None, until: str | None, *, zone: str | None = None, thread: str | None = None
) -> Period:
    """Understand which period a request is about.

    Raises:
        ConfigError: If an instant is none, the first is not before the last, or there is no such time zone.
        ProblemError: If there is no such thread.
    """
    if thread is not None and not await control.queries.knows_thread(thread):
        raise ProblemError(unknown_thread(thread))
    found = control.queries.time_zone if zone is None else zone_of(zone, path="time_zone")
    return Period.asked(since, until, found, control.queries.now_ns, thread=thread)


def unknown_thread(thread: str) -> Problem:
    """Say that there is no such thread, where an empty answer would be taken for one without events."""
    detail = f"there is no thread {thread[:80]!r}, and none of that name has ended; look at /v1/threads"
    return Problem(status=404, code="unknown_thread", title="no such thread", detail=detail)


async def period_report(reader: Reader, period: Period) -> PeriodReport:
    """Return the report of a period.

    Raises:
        JournalError: If the events cannot be read.
        EventsGoneError: If some were forgotten while they were read.
    """
    sums = PeriodSums(period)
    return sums.report(kept_from_ns=await _add_up(reader, period, sums.add))


async def compared_report(reader: Reader, period: Period, bill: str) -> tuple[PeriodReport, tuple[BillDifference, ...]]:
    """Return the report of a period, and how a bill differs from it.

    Raises:
        ConfigError: If the bill cannot be read.
        JournalError: If the events cannot be read.
        EventsGoneError: If some were forgotten while they were read.
    """
    sums, compared = PeriodSums(period), BillComparison(await _ADDING.run(read_bill, bill), period)

    def add(event: AnyEvent) -> None:
        sums.add(event)
        compared.add(event)

    kept_from_ns = await _add_up(reader, period, add)
    return sums.report(kept_from_ns=kept_from_ns), compared.differences()


async def period_usage(reader: Reader, period: Period, by: By) -> Usage:
    """Return the sums of a period, broken down.

    Raises:
        JournalError: If the events cannot be read.
        EventsGoneError: If some were forgotten while they were read.
    """
    sums = GroupedSums(period, by)
    await _add_up(reader, period, sums.add)
    return Usage(sums.total, by, sums.groups, since_ns=period.since_ns, until_ns=period.until_ns)


async def _add_up(reader: Reader, period: Period, add: Callable[[AnyEvent], None]) -> int:
    def add_all(page: list[AnyEvent]) -> None:
        for event in page:
            add(event)

    async with reader.one_period:
        found = await reader.between(period.since_ns, period.until_ns)
        async for page in found.pages:
            await _ADDING.run(add_all, page)
    return found.kept_from_ns
