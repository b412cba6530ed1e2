"""What a person is asked before it is done, and what they say. Pure."""

from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256

import msgspec

from organism.amounts import AMOUNT_MAX, NS_PER_S, dollars_nanousd, dollars_of, format_usd
from organism.errors import ConfigError, OrganismError, Refusal
from organism.text.error_text import shown
from organism.text.plain_text import counted

MORE_BUDGET = "more budget"
"""What is asked where an agent asks for budget."""

_SECONDS_MAX = AMOUNT_MAX // NS_PER_S


class BudgetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """More budget that an agent asks a person for.

    Attributes:
        tokens: So many tokens more.
        cost_nanousd: So many nano-USD more.
        seconds: For how long; what is not spent by then goes back. ``None``: until the thread ends.
    """

    tokens: int = 0
    cost_nanousd: int = 0
    seconds: int | None = None

    @classmethod
    def of(cls, grant: "BudgetGrant") -> "BudgetRequest":
        """Return the request that a grant is all of."""
        return cls(tokens=grant.tokens, cost_nanousd=grant.cost_nanousd, seconds=grant.seconds)

    def __str__(self) -> str:
        """Say what is asked for, such as ``$2.00 and 5,000 tokens more for 600 s``."""
        parts = [format_usd(self.cost_nanousd)] if self.cost_nanousd else []
        parts += [counted(self.tokens, "token")] if self.tokens else []
        until = "" if self.seconds is None else f" for {self.seconds:,} s"
        return f"{' and '.join(parts) or 'nothing'} more{until}"


def check_more(tokens: object, cost_nanousd: int, seconds: object) -> None:
    """Check what is asked for, or granted, by the same rule: what is asked for can be granted as it stands.

    Raises:
        ConfigError: If it is no amount.
    """
    if type(tokens) is not int or not 0 <= tokens <= AMOUNT_MAX:
        raise ConfigError(f"a whole number from 0 to 2^63 - 1, not {shown(tokens)}", path="tokens")
    if cost_nanousd < 0:
        raise ConfigError("not negative", path="usd")
    if seconds is not None and (type(seconds) is not int or not 0 < seconds <= _SECONDS_MAX):
        raise ConfigError(
            f"a whole number from 1 to {_SECONDS_MAX:,}, or nothing, not {shown(seconds)}", path="seconds"
        )


class BudgetGrant(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has given an agent that asked for more budget; true where that is anything.

    Attributes:
        tokens: So many tokens more; 0 where it was refused.
        cost_nanousd: So many nano-USD more.
        seconds: For how long; ``None``: until the thread ends.
        note: What the person has said.
    """

    tokens: int = 0
    cost_nanousd: int = 0
    seconds: int | None = None
    note: str = ""

    def __bool__(self) -> bool:
        """Whether anything was granted."""
        return bool(self.tokens or self.cost_nanousd)

    @property
    def allowed(self) -> bool:
        """Whether anything was granted."""
        return bool(self)

    @property
    def usd(self) -> Decimal:
        """The dollars, exactly."""
        return dollars_of(self.cost_nanousd)


class Approval(msgspec.Struct, frozen=True):
    """A question to a person that a message waits for.

    Attributes:
        id: Names it; the same whenever the message is run again and asks the same, and for all messages that wait for
            the same threshold of an account.
        thread_id: The conversation.
        root_thread_id: The thread at the top of its tree.
        agent: Who wants to do it.
        message_id: The message that waits.
        what: What is to be done, in a few words, such as a tool's name.
        detail: All that a person needs to decide, such as a tool's arguments.
        asked_ns: When it was asked, nanoseconds since the Unix epoch.
        budget: The budget that is asked for, if it is that.
        account: The account that a person must let go on, if it is that.
        threshold: Then, at which per cent of its limit.
    """

    id: str
    thread_id: str
    root_thread_id: str
    agent: str
    message_id: str
    what: str
    detail: str
    asked_ns: int
    budget: BudgetRequest | None = None
    account: str = ""
    threshold: int = 0

    def __str__(self) -> str:
        """Say in one line what is asked, without the detail, which may be anything."""
        return f"approval {self.id} of {self.what!r}"

    @staticmethod
    def id_at(short: Refusal) -> str:
        """Name the question whether an account may go on at a threshold: one is for all that are refused there.

        Another window is another account, and a changed limit another revision: each is asked about anew.
        """
        return Approval.id_of(short.account, short.threshold, short.revision)

    @staticmethod
    def id_of(account: str, threshold: int, revision: int) -> str:
        """Name the question whether an account may go on at a threshold, under a revision of its limit."""
        return approval_id("call", threshold, account, str(revision))


def asking(what: str) -> str:
    """Say what is asked of a person: ``asks to go on at 80 %``, ``asks for more budget``, ``asks to use wipe``.

    Args:
        what: What is to be done, as an approval has it: a tool's name, or words that begin with ``to``.
    """
    if what == MORE_BUDGET:
        return f"asks for {what}"
    return f"asks {what}" if what.startswith("to ") else f"asks to use {what}"


class Decision(msgspec.Struct, frozen=True):
    """What a person has said.

    Attributes:
        allowed: Whether it may be done.
        note: Why, or what to do instead; a model reads it.
        tokens: Where budget is asked for, how many tokens are granted; as asked unless given.
        usd: Likewise, dollars.
        seconds: Likewise, for how long: what is not spent by then goes back.
    """

    allowed: bool
    note: str = ""
    tokens: int | None = None
    usd: str | int | float | None = None
    seconds: int | None = None

    def grants(self, asked: BudgetRequest) -> BudgetGrant:
        """Return what it grants of what was asked for: that, or other amounts where it names them.

        Raises:
            ConfigError: If an amount is none.
        """
        try:
            cost_nanousd = asked.cost_nanousd if self.usd is None else dollars_nanousd(self.usd)
        except ValueError as error:
            raise ConfigError(str(error), path="usd") from None
        tokens = asked.tokens if self.tokens is None else self.tokens
        seconds = asked.seconds if self.seconds is None else self.seconds
        if not self.allowed:  # whatever was asked for: a no is always possible
            return BudgetGrant(note=self.note)
        check_more(tokens, cost_nanousd, seconds)
        return BudgetGrant(tokens=tokens, cost_nanousd=cost_nanousd, seconds=seconds, note=self.note)


_DECISIONS = "approval:"

WaitReason = Refusal | Approval
"""Why a message waits: for budget, or for a person."""


class UnknownApprovalError(OrganismError):
    """Nothing waits for this approval: it was answered, its thread has ended, or it never was asked.

    Attributes:
        approval_id: The name that was given.
    """

    def __init__(self, approval_id: str) -> None:
        self.approval_id = approval_id
        super().__init__(f"nothing waits for an approval {approval_id!r}: it was answered, or its thread has ended")


class ApprovalAnsweredError(UnknownApprovalError):
    """Nothing waits for this approval any more: it has had another answer, and that one counts."""

    def __init__(self, approval_id: str, *, allowed: bool) -> None:
        OrganismError.__init__(
            self, f"approval {approval_id!r} was {'allowed' if allowed else 'denied'} before, and that answer counts"
        )
        self.approval_id = approval_id


class ApprovalNeededError(OrganismError):
    """A thread waits for a person.

    Attributes:
        approvals: What is asked.
    """

    def __init__(self, approvals: tuple[Approval, ...], thread_id: str) -> None:
        self.approvals = approvals
        asked = ", ".join(map(str, approvals))
        super().__init__(f"thread {thread_id} waits for a person: {asked}; answer it, and wait again")


def approval_id(message_id: str, index: int, what: str, detail: str) -> str:
    """Name a question to a person: which of a message's it is, and exactly what is asked.

    So the answer to one question is never taken for the answer to another that a second run asks in its place.
    """
    asked = sha256(msgspec.json.encode((what, detail))).hexdigest()[:8]
    return f"{message_id}.{index}.{asked}"


def each_once(approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Return questions without those that others ask as well, oldest first."""
    found: dict[str, Approval] = {}
    for approval in sorted(approvals, key=lambda each: each.asked_ns):
        found.setdefault(approval.id, approval)
    return tuple(found.values())


def decision_key(approval: str) -> str:
    """Return the name of the step under which the answer is kept."""
    return f"{_DECISIONS}{approval}"


def is_decision_key(step: str) -> bool:
    """Whether a step of that name holds a person's answer, which nothing else may write."""
    return step.startswith(_DECISIONS)
