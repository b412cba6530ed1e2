"""What was used: sums in all and of a period, reports, and over time."""

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, JSONBody, QueryParameter, SkipValidation

from organism.api.bodies import BillBody
from organism.api.dependencies import ControlOf, ReaderOf
from organism.api.routes.period_usage import asked_period, compared_report, period_report, period_usage
from organism.api.scopes import needs
from organism.billing.period import Period, PeriodReport
from organism.billing.reconciliation import BillDifference
from organism.billing.reports.report_formats import MEDIA_TYPES, ReportFormat, accepted_format, write_report
from organism.control.views import By, Usage
from organism.usage.series import Measure, SeriesStep, UsageSeries

_GROUPS = r"^(?:agent|model|key|label:.+)$"
_MEASURE = "cost in nano-USD, calls, tokens, refusals, or latency: the mean nanoseconds of a step's calls."
_BY = "agent, model, key, or label:NAME, for the values of that label."
_STEP = (
    "minute (6 hours are kept), hour (32 days) or day (400 days); unless given the finest that is kept of a time: "
    "minutes of two hours or less, hours of three days or less."
)
_INSTANT = "A day (2026-11-24), an instant (2026-11-24T18:00), or so long ago (24h, 7d)"
_SINCE_BACK = f"{_INSTANT}; 24 hours ago unless given, or an hour for steps of a minute and 30 days of a day."
_UNTIL_NOW = "Likewise; a day is part of it, an instant is not. Now unless given."
_SINCE = f"{_INSTANT}; all that is recorded unless given."
_UNTIL = "Likewise; a day is part of it, an instant is not. Up to the last event unless given."
_ZONE = "Where days begin, such as Europe/Berlin; as the limits have it unless given."
_FORMAT = "In which form; as Accept says unless given, and JSON if it says nothing."

Since = Annotated[str | None, QueryParameter(name="since", max_length=40, description=_SINCE)]
Form = Annotated[ReportFormat | None, QueryParameter(name="format", description=_FORMAT)]
Until = Annotated[str | None, QueryParameter(name="until", max_length=40, description=_UNTIL)]


@get("/v1/usage", opt=needs("read"))
async def usage(
    control: ControlOf,
    reader: ReaderOf,
    by: Annotated[By, QueryParameter(name="by")] = "agent",
    since: Since = None,
    until: Until = None,
) -> Usage:
    """Sum up usage, broken down by agent, model, tool, thread, day or label.

    Without a period these are the sums of all that the journal has seen, kept as it happens. Those of a period are
    made from the stored events, as long as they are kept (``journal.events_days``).
    """
    if since is None and until is None:
        return control.queries.usage(by)
    return await period_usage(reader, await asked_period(control, since, until), by)


async def _period(
    control: ControlOf,
    since: Since = None,
    until: Until = None,
    thread: FromQuery[str | None] = None,
    time_zone: Annotated[str | None, QueryParameter(name="time_zone", max_length=64, description=_ZONE)] = None,
) -> Period:
    return await asked_period(control, since, until, zone=time_zone, thread=thread)


@get("/v1/usage/report", opt=needs("read"), dependencies={"period": Provide(_period)})
async def usage_report(
    request: Request[Any, Any, Any],
    reader: ReaderOf,
    period: NamedDependency[SkipValidation[Period]],
    form: Form = None,
) -> Response[str]:
    """Report cost and tokens of a period or a thread, by day, agent, model, provider, tool and label.

    The same report as ``organism usage report``: JSON, CSV, Markdown, or an HTML page to send on.
    """
    return _written(request, form, await period_report(reader, period), None)


@post("/v1/usage/report", status_code=200, opt=needs("read"), dependencies={"period": Provide(_period)})
async def compare_bill(
    request: Request[Any, Any, Any],
    reader: ReaderOf,
    period: NamedDependency[SkipValidation[Period]],
    data: JSONBody[BillBody],
    form: Form = None,
) -> Response[str]:
    """Compare a provider's bill with a period: billed, counted and recorded by day and model, and why they differ.

    The same as ``organism usage report --bill``; in JSON the lines stand under ``drift``. Nothing is changed or kept.
    """
    return _written(request, form, *await compared_report(reader, period, data.bill))


def _written(
    request: Request[Any, Any, Any],
    form: ReportFormat | None,
    report: PeriodReport,
    drifts: Sequence[BillDifference] | None,
) -> Response[str]:
    chosen = form or accepted_format(request.headers.get("accept", ""))
    text = write_report(report, drifts, chosen)
    return Response(text, headers={"content-type": MEDIA_TYPES[chosen], "vary": "Accept"})


@get("/v1/usage/series", opt=needs("read"))
async def usage_series(
    control: ControlOf,
    measure: Annotated[Measure, QueryParameter(name="measure", description=_MEASURE)] = "cost",
    by: Annotated[str, QueryParameter(name="by", pattern=_GROUPS, max_length=200, description=_BY)] = "agent",
    since: Annotated[str | None, QueryParameter(name="since", max_length=40, description=_SINCE_BACK)] = None,
    until: Annotated[str | None, QueryParameter(name="until", max_length=40, description=_UNTIL_NOW)] = None,
    step: Annotated[SeriesStep | None, QueryParameter(name="step", description=_STEP)] = None,
) -> UsageSeries:
    """Show usage over time, by the minute, hour or day, from recorded history.

    The 20 largest names have a series each, where there are more the last is all ``(others)``. A refusal is a limit
    that has refused a call, counted once until the limit is changed.
    """
    return control.queries.usage_over_time(measure, by, since=since, until=until, step=step)


ROUTES = (usage, usage_report, compare_bill, usage_series)
