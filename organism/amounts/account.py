"""Names of accounts, read and written in one place. Pure.

An account is what a limit counts on. Its name says what is limited, and what it is counted over::

    thread:th_1                      one thread
    agent:writer@thread:th_1         an agent, within one thread
    model:main@day:2026-11-24        a model, per day
    label:tenant=acme@month:2026-11  the threads with a label, per month
    pool:tenant=big@lifetime         the threads with one of several values of a label, for good
    organism@rolling:6h              all threads, in any six hours

Names go into the journal, events, headers and URLs. What a stranger may write, a label's name and value, is therefore
percent-encoded in them, so that no value can look like another account. Any text can be parsed and is written as it
was: a refusal may name in an account's place what is none.
"""

from functools import lru_cache
from urllib.parse import quote, unquote

import msgspec

_THREAD = "thread:"


def thread_account(thread_id: str) -> str:
    """Return the name of a thread's own account: that of most accounts, and in every call."""
    return f"{_THREAD}{thread_id}"


def thread_of(account: str) -> str | None:
    """Return the thread whose own account this is, or ``None``."""
    return account.removeprefix(_THREAD) if account.startswith(_THREAD) else None


def account_of(name: str) -> str:
    """Return the account that an operator means: a plain name is a thread's."""
    return name if ":" in name or "@" in name else thread_account(name)


class Account(msgspec.Struct, frozen=True):
    """An account's name in its parts.

    Attributes:
        kind: What is limited: ``thread``, ``agent``, ``model``, ``provider``, ``label``, ``pool``, ``organism``.
        name: Which one: the thread's id, the agent's name, ``tenant=acme`` with both sides encoded; empty for the
            organism.
        over: What it is counted over: ``thread:th_1``, ``day:2026-11-24``, ``rolling:6h``, ``lifetime``, ``call``;
            empty for a thread's own account.
    """

    kind: str
    name: str = ""
    over: str = ""

    @classmethod
    def parse(cls, text: str) -> "Account":
        """Read a name; never fails."""
        return _parse(text)

    @classmethod
    def of_organism(cls, over: str) -> "Account":
        """Return the account of all threads together."""
        return cls("organism", over=over)

    @classmethod
    def of_label(cls, label: str, value: str, over: str) -> "Account":
        """Return the account of one value of a label."""
        return cls("label", f"{_encoded(label)}={_encoded(value)}", over)

    @classmethod
    def of_pool(cls, label: str, pool: str, over: str) -> "Account":
        """Return the account that several values of a label share."""
        return cls("pool", f"{_encoded(label)}={_encoded(pool)}", over)

    def __str__(self) -> str:
        """Write the name as :meth:`parse` reads it."""
        scope = f"{self.kind}:{self.name}" if self.name else self.kind
        return f"{scope}@{self.over}" if self.over else scope

    @property
    def thread_id(self) -> str:
        """The thread whose own account this is; empty for other scopes."""
        return self.name if self.kind == "thread" and not self.over else ""

    @property
    def within_thread(self) -> str:
        """The thread that it belongs to, as its own account or as one counted within it; empty for other scopes."""
        return self.thread_id or thread_of(self.over) or ""

    @property
    def agent(self) -> str:
        """The agent that is limited; empty for other scopes."""
        return self.name if self.kind == "agent" else ""

    @property
    def label(self) -> tuple[str, str]:
        """A label's name and value, or a label's name and its pool's; empty for other scopes."""
        label, _, value = self.name.partition("=")
        return (unquote(label), unquote(value)) if self.kind in ("label", "pool") else ("", "")

    @property
    def per(self) -> str:
        """What it is counted over without which one: ``thread``, ``day``, ``6h``, ``lifetime``, ``call``."""
        window, _, which = self.over.partition(":")
        return which if window == "rolling" else window or self.kind

    @property
    def metric_label(self) -> str:
        """The kind of scope: ``thread``, ``agent:writer@day``, ``label:tenant@month``.

        There are as many as there are limits in the configuration, so it can be a metric's label: without the thread
        or the period, and without a label's value, of which there may be any number.
        """
        if not self.over:
            return self.kind
        name = self.name.partition("=")[0] if self.kind == "label" else self.name
        return f"{self.kind}:{name}@{self.per}" if name else f"{self.kind}@{self.per}"


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")


@lru_cache(maxsize=4096)
def _parse(text: str) -> Account:
    scope, _, over = text.rpartition("@")
    if not scope or not over:  # no account, or a thread's own
        scope, over = text, ""
    kind, _, name = scope.partition(":")
    return Account(kind, name, over) if name else Account(scope, "", over)
