"""What was used: sums since the start, and over time."""

from typing import Annotated

from litestar import get
from litestar.params import QueryParameter

from organism.api.dependencies import ControlOf
from organism.api.scopes import needs
from organism.control.views import By, Usage
from organism.usage.series import Measure, SeriesStep, UsageSeries

_GROUPS = r"^(?:agent|model|key|label:.+)$"
_MEASURE = "cost in nano-USD, calls, tokens, refusals, or latency: the mean nanoseconds of a step's calls."
_BY = "agent, model, key, or label:NAME, for the values of that label."
_STEP = "hour for three days or less unless given, else day."
_SINCE = (
    "A day (2026-11-24), an instant (2026-11-24T18:00), or so long ago (24h, 7d); "
    "24 hours ago, or 30 days for steps of a day, unless given."
)
_UNTIL = "Likewise; a day is part of it, an instant is not. Now unless given."


@get("/v1/usage", opt=needs("read"))
async def usage(control: ControlOf, by: Annotated[By, QueryParameter(name="by")] = "agent") -> Usage:
    """Sum up all that the journal has seen, broken down by agent, model, tool, thread, day or label."""
    return control.queries.usage(by)


@get("/v1/usage/series", opt=needs("read"))
async def usage_series(
    control: ControlOf,
    measure: Annotated[Measure, QueryParameter(name="measure", description=_MEASURE)] = "cost",
    by: Annotated[str, QueryParameter(name="by", pattern=_GROUPS, max_length=200, description=_BY)] = "agent",
    since: Annotated[str | None, QueryParameter(name="since", max_length=40, description=_SINCE)] = None,
    until: Annotated[str | None, QueryParameter(name="until", max_length=40, description=_UNTIL)] = None,
    step: Annotated[SeriesStep | None, QueryParameter(name="step", description=_STEP)] = None,
) -> UsageSeries:
    """Show usage over time, by the hour (32 days are kept) or the day (400 days), from recorded history.

    The 20 largest names have a series each, where there are more the last is all ``(others)``. A refusal is a limit
    that has refused a call, counted once until the limit is changed.
    """
    return control.queries.usage_over_time(measure, by, since=since, until=until, step=step)


ROUTES = (usage, usage_series)
