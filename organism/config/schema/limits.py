"""The part of organism.yaml about ceilings."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta

from organism.config.schema.values import Count, PeriodName, Section


class LimitsSection(Section, frozen=True, kw_only=True):
    """Ceilings; what is left out is not limited."""

    tokens: Annotated[Count | Literal["unlimited"] | None, Meta(description="all tokens, input and output")] = None
    usd: Annotated[Decimal | None, Meta(description="dollars, such as 0.50")] = None
    calls: Annotated[Count | None, Meta(description="model calls")] = None


class ThreadLimitsSection(LimitsSection, frozen=True, kw_only=True):
    """Ceilings of each thread."""

    seconds: Annotated[Decimal | None, Meta(description="seconds a thread may be open, parked time not counted")] = None


class ScopedLimitsSection(LimitsSection, frozen=True, kw_only=True):
    """Ceilings of one agent, model or provider."""

    per: Annotated[PeriodName, Meta(description="what they are counted over")] = "thread"


Reserve = Annotated[int, Meta(ge=0, le=50)]


class AllLimitsSection(Section, frozen=True, kw_only=True):
    """All ceilings. A call holds on every scope it falls into, or on none."""

    max_tokens_per_thread: Annotated[
        Count | Literal["unlimited"] | None, Meta(description="short for thread.tokens; 100,000 unless given")
    ] = None
    thread: Annotated[ThreadLimitsSection, Meta(description="each thread, however many agents it passes")] = (
        ThreadLimitsSection()
    )
    day: Annotated[LimitsSection, Meta(description="all threads together, per day")] = LimitsSection()
    month: Annotated[LimitsSection, Meta(description="all threads together, per month")] = LimitsSection()
    agents: Annotated[dict[str, ScopedLimitsSection], Meta(description="by agent")] = {}
    models: Annotated[dict[str, ScopedLimitsSection], Meta(description="by model")] = {}
    providers: Annotated[
        dict[str, ScopedLimitsSection], Meta(description="by provider; what one refuses goes to the model's next route")
    ] = {}
    time_zone: Annotated[str, Meta(description="where days and months begin, such as Europe/Berlin")] = "UTC"
    final_reserve: Annotated[
        Reserve, Meta(description="per cent of a thread's tokens and usd reserved for one call after the final warning")
    ] = 5
    wrap_up: Annotated[Reserve | None, Meta(description="the old name of final_reserve")] = None
