"""Every error organism raises on purpose, in one tree.

::

    OrganismError
    ├── ConfigError              organism.yaml or an argument of the Python API is wrong
    │   ├── AmountError          an amount of money or tokens is none
    │   └── MissingExtraError    a feature needs a package that is not installed
    ├── BudgetError
    │   ├── BudgetExhaustedError a limit refused a call
    │   ├── UnpricedError        a USD limit meets a model without a price
    │   ├── UnboundedError       nothing bounds how many tokens a part of a request may become
    │   ├── UnknownAccountError  no budget of that name is open
    │   └── LedgerStateError     a hold was resolved in a way its state does not allow
    ├── ProviderError
    │   ├── RejectedError        the provider did no work: nothing is charged
    │   │   ├── TooLargeError    a request does not fit into what the provider takes in a minute
    │   │   └── UnsupportedError the provider serves no requests of this kind
    │   └── UncertainError       the provider may have done the work: the hold is charged
    ├── DeliveryError
    │   ├── UnknownRecipientError
    │   ├── NotAcceptedError     the recipient does not take messages of this type
    │   ├── PeerError            the sender may not write to this recipient
    │   ├── NodeLabelError       the recipient works at other nodes of the cluster
    │   ├── ReservedMessageError only the runtime sends messages of this type
    │   ├── MailboxFullError
    │   ├── BoundExceededError   hops, fan-out, depth, descendants or size
    │   └── ThreadClosedError
    ├── AskError
    │   ├── AskTimeoutError      no reply before the deadline
    │   ├── AskCycleError        the agent asked is waiting for the asker
    │   └── AskFailedError       the agent asked failed on the question
    ├── ContextClosedError       a context was used after its handler had ended
    ├── WorkersBusyError         no worker thread came free for a plain function
    ├── AnswerError              a model's answer cannot be used
    └── StoppedError             the organism is draining or has stopped

Each carries what went wrong as attributes and writes its own sentence, which ends in what to do about it. ``retryable``
says whether the same message may work on another try; the pump does not retry what cannot.
"""

import warnings
from typing import TYPE_CHECKING, Literal

import msgspec

from organism.amounts import Dimension
from organism.amounts.units import format_amount
from organism.error_root import AmountError, ConfigError, MissingExtraError, OrganismError
from organism.errors.messages import (
    AskCycleError,
    AskError,
    AskFailedError,
    AskTimeoutError,
    BoundExceededError,
    ContextClosedError,
    DeliveryError,
    MailboxFullError,
    NodeLabelError,
    NotAcceptedError,
    PeerError,
    ReservedMessageError,
    StoppedError,
    ThreadClosedError,
    UnknownRecipientError,
    WorkersBusyError,
)
from organism.text.error_text import in_one_line

__all__ = [
    "AmountError",
    "AnswerError",
    "AskCycleError",
    "AskError",
    "AskFailedError",
    "AskTimeoutError",
    "BoundExceededError",
    "BudgetError",
    "BudgetExhaustedError",
    "ConfigError",
    "ContextClosedError",
    "DeliveryError",
    "LedgerStateError",
    "MailboxFullError",
    "Meaning",
    "MissingExtraError",
    "NodeLabelError",
    "NotAcceptedError",
    "OrganismError",
    "PeerError",
    "ProviderError",
    "Refusal",
    "RefusalCause",
    "RejectedError",
    "Relief",
    "ReservedMessageError",
    "StoppedError",
    "ThreadClosedError",
    "TooLargeError",
    "UnboundedError",
    "UncertainError",
    "UnknownAccountError",
    "UnknownRecipientError",
    "UnpricedError",
    "UnsupportedError",
    "WorkersBusyError",
]


RefusalCause = Literal["limit", "freeze", "breaker", "approval"]
"""``limit``: there is no room. ``freeze``: an operator has stopped spending, whatever room there is. ``breaker``: the
thread goes round and round, and was paused. ``approval``: a person must let it go on."""


class Refusal(msgspec.Struct, frozen=True):
    """Why one scope said no, in numbers of one dimension.

    Attributes:
        account: The scope, such as ``thread:th_1`` or ``organism@day:2026-11-24``.
        dimension: The unit that ran short.
        limit: The ceiling.
        spent: What is settled.
        held: What open calls have taken.
        needed: What this call asked for.
        final_reserve: What is reserved for one final call after the final warning; ``kept`` in JSON.
        final_reserve_open: Whether the agent has just got that warning, so that its next call may use it; ``wrap_up``.
        cause: What refused, if it was no limit.
        note: Why, and what to do about it, where it was no limit.
        action: What it means on its scope: ``park``, ``refuse``, or what the organism does anywhere else.
        threshold: The per cent of its limit that a person must let go on, or where it ends if before 100.
        revision: Of which revision of the limit.
        reserved_by_others: Of the final reserve what other loops of tools have left for their last calls.
    """

    account: str
    dimension: Dimension
    limit: int
    spent: int
    held: int
    needed: int
    final_reserve: int = msgspec.field(default=0, name="kept")
    final_reserve_open: bool = msgspec.field(default=False, name="wrap_up")
    cause: RefusalCause = "limit"
    note: str = ""
    action: Literal["", "park", "refuse"] = ""
    threshold: int = 0
    revision: int = 0
    reserved_by_others: int = 0

    @property
    def available(self) -> int:
        """What was left: never negative, although spend may stand above a lowered limit."""
        return max(0, self.limit - self.final_reserve - self.spent - self.held)

    def __str__(self) -> str:
        """Name the scope and every number; or what else refused."""
        if self.cause != "limit":
            return self.note

        def text(amount: int) -> str:
            return format_amount(self.dimension, amount)

        part = f", which is {self.threshold} % of its limit" if self.threshold else ""
        calls = "final calls" if self.reserved_by_others else "a final call"
        reserved = f", reserved for {calls} {text(self.final_reserve)}" if self.final_reserve else ""
        return (
            f"{self.account} has {text(self.available)} left of {text(self.limit)}{part} "
            f"(spent {text(self.spent)}, held {text(self.held)}{reserved}); the call needs {text(self.needed)}"
        )


class Relief(msgspec.Struct, frozen=True):
    """When a call that was refused fits by itself, though nobody raises a limit.

    Attributes:
        at_ns: The first instant after the days and months that refuse it, since the Unix epoch; ``None``: as soon as
            calls under way are settled below what they hold.
    """

    at_ns: int | None = None


class BudgetError(OrganismError):
    """Something about a budget."""


class BudgetExhaustedError(BudgetError):
    """A limit refused a call before it was made.

    Attributes:
        refusal: The tightest scope and every number.
        thread_id: The thread whose call it was.
        relief: When the same call fits by itself; ``None``: never, unless a limit is raised.
        approval_id: What a person has been asked, where a call from outside was refused until it is answered.
    """

    def __init__(self, refusal: Refusal, thread_id: str, relief: Relief | None = None, approval_id: str = "") -> None:
        self.refusal = refusal
        self.thread_id = thread_id
        self.relief = relief
        self.approval_id = approval_id
        super().__init__(
            f"budget exhausted in thread {thread_id}: {refusal}; raise the limit to go on"
            if refusal.cause == "limit"
            else f"thread {thread_id} waits: {refusal}"
        )

    @property
    def shortfall(self) -> Refusal:
        """The refusal, by the name that events and the API have for it."""
        return self.refusal

    @property
    def waits(self) -> bool:
        """Whether its message waits in any case, also where refusals are raised into handlers."""
        return self.refusal.cause != "limit" or self.refusal.action == "park"

    @property
    def refuses(self) -> bool:
        """Whether it is raised into the handler in any case, also where messages wait for a higher limit."""
        return self.refusal.action == "refuse" and not self.refusal.final_reserve_open


class UnpricedError(BudgetError):
    """A limit in USD cannot be enforced because the model's price is unknown.

    Attributes:
        model: The model without a price.
    """

    def __init__(self, model: str, provider: str) -> None:
        self.model = model
        super().__init__(
            f"no price is known for model {model!r} of provider {provider!r}, and a limit in USD is in force; "
            f"add the model under 'prices:', or use mode 'audit'"
        )


class UnboundedError(BudgetError):
    """A call cannot be held, because nothing bounds how many tokens a part of its input may become.

    Attributes:
        provider: The provider's name in the configuration.
        what: The part without a bound.
    """

    def __init__(self, provider: str, what: str, remedy: str) -> None:
        self.provider = provider
        self.what = what
        super().__init__(f"nothing is published that bounds the tokens of {what} at provider {provider!r}; {remedy}")


class UnknownAccountError(BudgetError):
    """No budget of that name is open.

    Attributes:
        account: The name that was asked for.
        present: The account of its scope on which calls hold now, where that is another one; else empty.
    """

    def __init__(self, account: str, present: str = "") -> None:
        self.account = account
        self.present = present
        hint = f"; the present one is {present!r}" if present else ""
        super().__init__(f"no budget is open for {account!r}; it was never opened or is closed{hint}")


class LedgerStateError(BudgetError):
    """A hold was resolved in a way that its state does not allow: a bug of the caller, never of a user.

    Attributes:
        hold_id: The hold.
        verb: What was tried.
        state: What the hold was at that time.
    """

    def __init__(self, hold_id: str, verb: str, state: str) -> None:
        self.hold_id = hold_id
        self.verb = verb
        self.state = state
        super().__init__(f"cannot {verb} hold {hold_id!r}: it is {state}")


_DETAIL_MAX = 500
"""Characters of what a provider said."""


class ProviderError(OrganismError):
    """A model call failed.

    Attributes:
        provider: The provider's name in the configuration.
        status: The HTTP status, if there was one.
        detail: At most 500 characters of what the provider said, in one line, with secrets removed.
    """

    def __init__(self, provider: str, detail: str, *, status: int | None = None) -> None:
        self.provider = provider
        self.status = status
        super().__init__()
        self.say(detail)

    def say(self, detail: str) -> None:
        """Say it in other words."""
        self.detail = in_one_line(detail, _DETAIL_MAX)
        code = f" answered {self.status}" if self.status is not None else " failed"
        self.args = (f"provider {self.provider!r}{code}: {self.detail}",)


Meaning = Literal[
    "request", "policy", "context", "model", "key", "credit", "address", "rate", "overloaded", "failed"
]  # fmt: skip
"""What a refusal is about.

``request``: this request, wherever it goes. ``policy``: what it says is not allowed. ``context``: it is too long for
this model. ``model``: the model is not there, or not for us. ``key``: the key, or what it may do. ``credit``: the
account is empty. ``address``: nobody there knows what was asked for. ``rate``: too much for now. ``overloaded``: the
provider is busy, down or not reached. ``failed``: it broke on it.
"""

_AGAIN = frozenset({"rate", "overloaded", "failed"})
_ELSEWHERE: dict[str, Literal["route", "provider"]] = {
    "context": "route", "model": "route", "key": "provider", "credit": "provider", "address": "provider",
}  # fmt: skip


class RejectedError(ProviderError):
    """The provider refused before doing any work, or was never reached: nothing was billed.

    Attributes:
        meaning: What the refusal is about.
        retry_after_s: Seconds the provider asked us to wait; ``None`` if it did not say.
        again: Whether another attempt there may succeed, after a pause.
    """

    def __init__(
        self,
        provider: str,
        detail: str,
        *,
        status: int | None = None,
        again: bool = False,
        meaning: Meaning | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        self.meaning: Meaning = meaning or ("overloaded" if again else "request")
        self.again = self.meaning in _AGAIN
        self.retry_after_s = retry_after_s
        super().__init__(provider, detail, status=status)

    @property
    def rules_out(self) -> Literal["route", "provider"] | None:
        """What it is no use to ask again for this call, though others may be asked; ``None`` if it is not that."""
        return _ELSEWHERE.get(self.meaning)


class TooLargeError(RejectedError):
    """A request is larger than all that its provider takes in a minute: no waiting helps, another provider may.

    Attributes:
        tokens: What the request may take.
        most: What the configuration lets the provider take in a minute.
    """

    def __init__(self, provider: str, tokens: int, most: int) -> None:
        self.tokens = tokens
        self.most = most
        compared = f"the request may take {tokens:,} tokens, and 'tokens_per_minute' is {most:,}"
        super().__init__(provider, f"{compared}; raise it or ask for less")


class UnsupportedError(RejectedError):
    """A provider serves no requests of a kind, such as embeddings, and was not asked."""

    def __init__(self, provider: str, what: str) -> None:
        super().__init__(provider, f"it serves no {what}; route the model to a provider that does")


class UncertainError(ProviderError):
    """The request may have been worked on and billed, but no usable answer came: timeout, reset, 502, garbage."""

    counted: object = None
    """The Completion that has come, with the provider's usage of its failure: charged in place of the whole hold."""


class AnswerError(OrganismError):
    """A model's answer is empty, or not of the form that was asked for; another try may succeed, and is charged."""

    retryable = True


if not TYPE_CHECKING:  # so that type checkers go on telling of names that are not there

    def __getattr__(name: str) -> object:
        """Return what a name of the last version stands for now."""
        if name == "Shortfall":
            warnings.warn("organism.errors.Shortfall is now Refusal", DeprecationWarning, stacklevel=2)
            return Refusal
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
