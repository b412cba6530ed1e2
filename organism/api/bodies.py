"""What requests say, as they write it: dollars as text, seconds as numbers."""

from datetime import date
from typing import Annotated, Any, Literal

import msgspec

from organism.amounts import AMOUNT_MAX, NS_PER_S, ZERO, Amounts, Dimension, Limits
from organism.amounts.units import DIMENSIONS, UNITS, limited_units
from organism.api.tokens.token_book import TokenScope
from organism.budget.guards.freezes import labels_of
from organism.budget.holds import Mode
from organism.budget.requests import LimitsRequest
from organism.control.accounts import LimitsChange, seconds_ns, usd_nano
from organism.errors import ConfigError
from organism.messages import Message, MessageRegistry, PayloadError, Text
from organism.pricing.written import WrittenPrice, override_of
from organism.whatif.changes import Changes

_LABELS_MAX = 32
_NAMES_MAX = 1000
_SECONDS_MAX = AMOUNT_MAX // NS_PER_S

CountField = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]
SecondsField = Annotated[int, msgspec.Meta(ge=0, le=_SECONDS_MAX)]
StepField = Annotated[int, msgspec.Meta(ge=-AMOUNT_MAX, le=AMOUNT_MAX)]
SecondsStep = Annotated[int, msgspec.Meta(ge=-_SECONDS_MAX, le=_SECONDS_MAX)]
Lifted = Literal["unlimited"]
Label = Annotated[str, msgspec.Meta(max_length=200)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")]


class LimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits as people write them; what is left out is not limited.

    Attributes:
        tokens: All tokens.
        usd: Dollars, as text so that no digit is lost.
        seconds: Seconds the thread may be open.
        calls: Model calls.
    """

    tokens: CountField | None = None
    usd: str | None = None
    seconds: SecondsField | None = None
    calls: CountField | None = None

    def limits(self) -> Limits:
        """Return them in integer units.

        Raises:
            ConfigError: If the dollars are no amount.
        """
        cost = usd_nano(self.usd)
        if cost is not None and cost < 0:
            raise ConfigError(f"not an amount of dollars: {self.usd!r}", path="usd")
        return Limits(tokens=self.tokens, cost_nanousd=cost, elapsed_ns=seconds_ns(self.seconds), calls=self.calls)


class MoveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far limits are to move: up, or with a minus down; what is left out stays.

    Attributes:
        tokens: By how many tokens.
        usd: By how many dollars, as text.
        seconds: By how many seconds.
        calls: By how many calls.
        percent: By how many per cent of every limit there is.
    """

    tokens: StepField = 0
    usd: str | None = None
    seconds: SecondsStep = 0
    calls: StepField = 0
    percent: Annotated[int, msgspec.Meta(ge=-100, le=1_000_000)] = 0

    def change(self) -> LimitsChange:
        """Return it in integer units.

        Raises:
            ConfigError: If the dollars are no amount, or nothing is to move.
        """
        change = LimitsChange(
            tokens=self.tokens,
            cost_nanousd=usd_nano(self.usd) or 0,
            elapsed_ns=self.seconds * NS_PER_S,
            calls=self.calls,
            percent=self.percent,
        )
        if change == LimitsChange():
            raise ConfigError("nothing is to change; give tokens, usd, seconds, calls or percent")
        return change


class AdjustBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How spend is to be corrected: up, or with a minus down.

    Attributes:
        reason: Why, such as the number of an invoice.
        tokens: By how many tokens.
        usd: By how many dollars, as text.
        calls: By how many calls.
    """

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    tokens: StepField = 0
    usd: str | None = None
    calls: StepField = 0

    def amounts(self) -> Amounts:
        """Return it in integer units.

        Raises:
            ConfigError: If the dollars are no amount, nothing is to change, or the reason is blank.
        """
        amounts = Amounts(self.tokens, usd_nano(self.usd) or 0, self.calls)
        if amounts == ZERO:
            raise ConfigError("nothing is to change; give tokens, usd or calls")
        if not self.reason.strip():
            raise ConfigError("give a reason; it is kept with the correction", path="reason")
        return amounts


class ReplayLimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thread's limits in a replay; what is left out stays as it was recorded.

    Attributes:
        tokens: All tokens.
        usd: Dollars, as text.
        seconds: Seconds the thread may be open.
        calls: Model calls.
    """

    tokens: CountField | Lifted | None = None
    usd: str | None = None
    seconds: SecondsField | Lifted | None = None
    calls: CountField | Lifted | None = None

    def limits(self) -> dict[Dimension, int | None]:
        """Return those that change, in integer units; ``None`` lifts one.

        Raises:
            ConfigError: If the dollars are no amount.
        """
        lifted: dict[Dimension, int | None] = {
            dimension: None for dimension in DIMENSIONS if getattr(self, dimension) == "unlimited"
        }
        given = {name: getattr(self, name) for name in self.__struct_fields__ if name not in lifted}
        return {**dict(limited_units(LimitsBody(**given).limits())), **lifted}


class ReplayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be otherwise than it was recorded.

    Attributes:
        mode: What a reached limit does; ``enforce`` where limits are given, else ``audit``.
        limits: The thread's own limits.
        accounts: Limits of other scopes on which its calls were held, by account, such as ``label:tenant=acme@day``.
        models: What takes the place of a model: one of the configuration, or ``provider/model``; ``*`` means all.
        prices: Prices in dollars per million tokens, by ``provider/model`` or model, as in the configuration.
        day: The day whose prices hold for every call.
    """

    mode: Mode | None = None
    limits: ReplayLimitsBody = ReplayLimitsBody()
    accounts: Annotated[dict[str, ReplayLimitsBody], msgspec.Meta(max_length=_NAMES_MAX)] = {}
    models: Annotated[dict[str, str], msgspec.Meta(max_length=_NAMES_MAX)] = {}
    prices: Annotated[dict[str, WrittenPrice | list[WrittenPrice] | str], msgspec.Meta(max_length=_NAMES_MAX)] = {}
    day: date | None = None

    def changes(self) -> Changes:
        """Return it in integer units.

        Raises:
            ConfigError: If an amount of dollars is none.
        """
        limits = self.limits.limits()
        return Changes(
            mode=self.mode or ("enforce" if limits or self.accounts else "audit"),
            limits=limits,
            accounts={account: each.limits() for account, each in self.accounts.items()},
            models=self.models,
            prices={name: override_of(written, "request") for name, written in self.prices.items()},
            day=self.day,
        )


class SendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A message into an open thread.

    Attributes:
        text: The message as plain text; this or ``message``.
        message: Any message, with its ``type``.
        to: The agent it is for; the entry agent unless given.
    """

    text: str | None = None
    message: dict[str, Any] | None = None
    to: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None

    def payload(self, messages: MessageRegistry) -> Message:
        """Return the message.

        Raises:
            PayloadError: If there is not exactly one, or it is of no known type.
        """
        if (self.text is None) == (self.message is None):
            raise PayloadError("give either 'text' or 'message'")
        return Text(self.text) if self.text is not None else messages.decode(msgspec.json.encode(self.message))


class LimitsRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits asked for a thread: what is left out stays as it is configured; ``null`` or "unlimited" removes a limit.

    Only a token that may operate gets more than is configured; for every other the lower of both holds.

    Attributes:
        tokens: All tokens.
        usd: Dollars, as text so that no digit is lost.
        seconds: Seconds the thread may be open.
        calls: Model calls.
    """

    tokens: CountField | Lifted | msgspec.UnsetType | None = msgspec.UNSET
    usd: str | msgspec.UnsetType | None = msgspec.UNSET
    seconds: SecondsField | Lifted | msgspec.UnsetType | None = msgspec.UNSET
    calls: CountField | Lifted | msgspec.UnsetType | None = msgspec.UNSET

    def request(self) -> LimitsRequest:
        """Return them in integer units.

        Raises:
            ConfigError: If the dollars are no amount.
        """
        asked = {name: getattr(self, name) for name in self.__struct_fields__}
        removed = {name for name, value in asked.items() if value is None or value == "unlimited"}
        written = LimitsBody(
            **{name: value for name, value in asked.items() if value is not msgspec.UNSET and name not in removed}
        ).limits()
        return LimitsRequest(
            **{
                unit.limit: "unlimited" if name in removed else getattr(written, unit.limit)
                for name, unit in UNITS.items()
            }
        )


class OpenThreadBody(SendBody, frozen=True, forbid_unknown_fields=True):
    """A first message, and what its thread may use.

    Attributes:
        thread_id: A name for the thread.
        limits: Its own limits; the configured ones where it says nothing.
        labels: Kept on every usage event.
    """

    thread_id: str | None = None
    limits: LimitsRequestBody | None = None
    labels: Annotated[dict[Name, Label], msgspec.Meta(max_length=_LABELS_MAX)] = {}


class ModeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reached limit is to do."""

    mode: Mode


class FreezeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What spending is to be stopped: that of every thread, unless labels are named.

    Attributes:
        label: One label, as ``name=value``, or several.
        labels: The same as names and values.
        reason: Why; those who are refused read it.
        cancel: Whether calls under way are closed.
    """

    label: Label | list[Label] | None = None
    labels: Annotated[dict[Name, Label], msgspec.Meta(max_length=_LABELS_MAX)] = {}
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""
    cancel: bool = False

    def which(self) -> dict[str, str]:
        """Return the labels.

        Raises:
            ConfigError: If one of them is none.
        """
        return labels_of(self.label) | self.labels


class DrainBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to wait for open threads.

    Attributes:
        within_seconds: Seconds; the answer comes earlier when all have come to rest.
    """

    within_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30


class TokenBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make.

    Attributes:
        name: What the audit calls it.
        scopes: What it may do.
        days: How long it lasts; without an end unless given.
        limits: The most that each thread it opens may use, where that is less than is configured.
        labels: Of each thread it opens; it cannot change them.
    """

    name: Name
    scopes: Annotated[list[TokenScope], msgspec.Meta(min_length=1)]
    days: Annotated[int, msgspec.Meta(ge=1, le=3650)] | None = None
    limits: LimitsBody | None = None
    labels: Annotated[dict[Name, Label], msgspec.Meta(max_length=_LABELS_MAX)] = {}


class TokenLimitsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Other limits of a token.

    Attributes:
        limits: The most that each thread may use that it opens from now on; ``null`` for what is configured.
    """

    limits: LimitsBody | None


class BillBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's bill.

    Attributes:
        bill: The bill as CSV or JSON, as the provider exports it or its API gives it.
    """

    bill: Annotated[str, msgspec.Meta(min_length=1)]


StateFilter = Literal["open", "blocked", "paused", "closing", "dormant", "completed", "failed", "terminated"]
WaitingFilter = Literal["budget", "person", "child", "provider", "freeze", "breaker", "operator"]


class DecisionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer to what a person is asked.

    Attributes:
        allowed: Whether it may be done.
        note: Why, or what to do instead.
        tokens: Where more budget is asked for, how many tokens are granted; as asked unless given.
        usd: Likewise, dollars, as text.
        seconds: Likewise, for how long; what is not spent by then goes back.
    """

    allowed: bool
    note: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    tokens: CountField | None = None
    usd: str | None = None
    seconds: Annotated[int, msgspec.Meta(ge=1, le=_SECONDS_MAX)] | None = None
