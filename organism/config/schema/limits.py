"""The part of organism.yaml about ceilings."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from organism.config.schema.values import Count, ModeName, PeriodName, Positive, Section

ActionName = Literal["warn", "degrade", "approve", "park", "refuse"]
Thresholds = list[int] | dict[str, ActionName]
"""Per cents at which is warned, or what happens at each of them."""


class LimitsSection(Section, frozen=True, kw_only=True):
    """Ceilings; what is left out is not limited."""

    tokens: Annotated[Count | Literal["unlimited"] | None, Meta(description="all tokens, input and output")] = None
    usd: Annotated[Decimal | None, Meta(description="dollars, such as 0.50")] = None
    calls: Annotated[Count | None, Meta(description="model calls")] = None


class ThreadLimitsSection(LimitsSection, frozen=True, kw_only=True):
    """Ceilings of each thread."""

    seconds: Annotated[Decimal | None, Meta(description="seconds a thread may be open, parked time not counted")] = None


class RuleSection(LimitsSection, frozen=True, kw_only=True):
    """Ceilings, and what happens as they come near."""

    mode: Annotated[
        ModeName | None, Meta(description="what is done where they are reached; as the organism does unless given")
    ] = None
    thresholds: Annotated[
        Thresholds | None,
        Meta(description="per cents at which to warn, ascending, or what happens at each; the organism's unless given"),
    ] = None


class EachThreadLimitsSection(RuleSection, frozen=True, kw_only=True):
    """Ceilings of each thread, and what happens as they come near."""

    seconds: Annotated[Decimal | None, Meta(description="seconds a thread may be open, parked time not counted")] = None


_PER = "what they are counted over: thread, call, hour, day, week, month, lifetime, or any so many hours, such as 6h"


class ScopedLimitsSection(RuleSection, frozen=True, kw_only=True):
    """Ceilings of one agent, model or provider."""

    per: Annotated[PeriodName, Meta(description=_PER)] = "thread"


class RollingLimitsSection(RuleSection, frozen=True, kw_only=True):
    """Ceilings of all threads together within any so many hours, whenever these begin."""

    hours: Annotated[Positive, Meta(description="so many hours", le=8784)]


class ValueLimitsSection(RuleSection, frozen=True, kw_only=True):
    """Ceilings of one value of a label; a unit that is not named is limited as for every value."""

    per: Annotated[PeriodName | None, Meta(description=f"{_PER}; as for every value unless given")] = None


class PoolLimitsSection(ValueLimitsSection, frozen=True, kw_only=True):
    """Ceilings that several values of a label share, beside those of each."""

    values: Annotated[list[str], Meta(description="the values that share it", min_length=1)]


class LabelLimitsSection(RuleSection, frozen=True, kw_only=True):
    """Ceilings of the threads with a label, for each of its values apart."""

    per: Annotated[PeriodName, Meta(description=f"{_PER}; lifetime unless given")] = "lifetime"
    values: Annotated[dict[str, ValueLimitsSection], Meta(description="other ceilings of single values")] = {}
    pools: Annotated[dict[str, PoolLimitsSection], Meta(description="by name: what several values share")] = {}
    required: Annotated[bool, Meta(description="whether a thread without the label is refused")] = False


Reserve = Annotated[int, Meta(ge=0, le=50)]


class AllLimitsSection(Section, frozen=True, kw_only=True):
    """All ceilings. A call holds on every scope it falls into, or on none."""

    max_tokens_per_thread: Annotated[
        Count | Literal["unlimited"] | None, Meta(description="short for thread.tokens; 100,000 unless given")
    ] = None
    thread: Annotated[EachThreadLimitsSection, Meta(description="each thread, however many agents it passes")] = (
        EachThreadLimitsSection()
    )
    call: Annotated[RuleSection, Meta(description="each call alone")] = RuleSection()
    hour: Annotated[RuleSection, Meta(description="all threads together, per hour")] = RuleSection()
    day: Annotated[RuleSection, Meta(description="all threads together, per day")] = RuleSection()
    week: Annotated[RuleSection, Meta(description="all threads together, per week from Monday on")] = RuleSection()
    month: Annotated[RuleSection, Meta(description="all threads together, per month")] = RuleSection()
    lifetime: Annotated[RuleSection, Meta(description="all threads together, for good")] = RuleSection()
    rolling: Annotated[
        RollingLimitsSection | list[RollingLimitsSection],
        Meta(description="all threads together, within any so many hours; one window or several"),
    ] = []
    agents: Annotated[dict[str, ScopedLimitsSection], Meta(description="by agent")] = {}
    models: Annotated[dict[str, ScopedLimitsSection], Meta(description="by model")] = {}
    providers: Annotated[
        dict[str, ScopedLimitsSection], Meta(description="by provider; what one refuses goes to the model's next route")
    ] = {}
    labels: Annotated[dict[str, LabelLimitsSection], Meta(description="by label of a thread, such as tenant")] = {}
    time_zone: Annotated[str, Meta(description="where days, weeks and months begin, such as Europe/Berlin")] = "UTC"
    final_reserve: Annotated[
        Reserve,
        Meta(
            description="per cent of a thread's tokens and usd reserved for one call after the final warning; with 0 "
            "no loop of tools leaves room for its last call"
        ),
    ] = 5
    wrap_up: Annotated[Reserve | None, Meta(description="the old name of final_reserve")] = None
