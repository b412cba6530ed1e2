"""Chooses the thread that pays for a request: the one it names, its key's configured one, or the key's own."""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

from organism.amounts import NS_PER_S, Limits
from organism.api.tokens.token_book import Caller
from organism.budget.requests import grant_limits
from organism.control.control import Control
from organism.control.idempotency import Order
from organism.errors import ThreadClosedError
from organism.formats.errors.faults import Fault, FaultError
from organism.gateway.keys import KEY_PREFIX
from organism.gateway.settings import Key, Settings
from organism.ids import THREAD_ID
from organism.usage.events import AnyEvent, ThreadClosed

IDLE_S = 3600
"""Seconds of disuse after which a thread that a key has named may be ended to make room for another."""

_OWN = ("key-", "token-")
"""Prefixes of threads that belong to one key or token each, and that no other may name."""


class Payer(msgspec.Struct, frozen=True):
    """The payer of a request.

    Attributes:
        thread_id: The thread.
        spender: The name recorded in place of an agent.
        trace: The ``traceparent`` of the request, if there is one.
    """

    thread_id: str
    spender: str
    trace: str | None = None


class _Account(msgspec.Struct, frozen=True):
    """How a caller spends: its spender name, its own thread, and what its threads are opened with."""

    spender: str
    own: str
    limits: Limits | None
    labels: dict[str, str]
    fixed: bool = False


class Payers:
    """Finds the threads that pay, and opens them on first use.

    Args:
        control: The organism.
        settings: The keys and their threads.
    """

    def __init__(self, control: Control, settings: Settings) -> None:
        components = control.components
        self._owners = control.owners
        self._budgets = components.budgets
        self._standing = control.external_threads
        self._now_ns = components.clock.monotonic_ns
        self._since_ns = self._now_ns()
        self._used: dict[str, int] = {}
        control.owners.reserve_names(self._is_kept)
        components.usage.subscribe(self._forget, ThreadClosed)
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Use other settings from the next request on."""
        self._limits = settings.limits
        self._threads_max = settings.threads
        self._keys = {key.name: key for key in settings.keys}
        self._keys_by_hash = {key.sha256: key for key in settings.keys}
        self._given = _given(settings.keys)

    def key_of(self, hashed: str) -> Key | None:
        """Return the key with a hash; ``None`` if there is none."""
        return self._keys_by_hash.get(hashed)

    async def payer(self, caller: Caller, named: str, trace: str | None = None) -> Payer:
        """Return who pays for a request.

        Args:
            caller: The caller, by its key or token.
            named: The thread that the request names; empty if it names none.
            trace: The ``traceparent`` of the request, if there is one.

        Raises:
            ThreadClosedError: The thread has ended, or is not the caller's.
            ConfigError: The name cannot be a thread's.
            FaultError: The caller has too many threads open, and none that has been idle for long.
            StoppedError: The organism is stopping.
        """
        account, thread_id = self._account_of(caller), self.thread_of(caller, named)
        order = Order(by=caller.name, owner_only=caller.owner_only)
        if self._standing.is_open(thread_id):
            if thread_id != account.own:
                self._owners.check(thread_id, order)
        else:
            # Before the checks: between these and the opening nothing may await, or two requests would open the thread.
            await self._standing.look_up(thread_id)
            if self._standing.is_open(thread_id):  # opened meanwhile, by another request of the same name
                return await self.payer(caller, named, trace)
            if thread_id != account.own:
                self._check_new(thread_id, order)
            self._standing.open(thread_id, account.spender, limits=account.limits, labels=account.labels, trace=trace)
            self._owners.note(thread_id, order)
        self._used[thread_id] = self._now_ns()
        return Payer(thread_id, account.spender, trace)

    def thread_of(self, caller: Caller, named: str) -> str:
        """Return the thread that would pay for a request of a caller."""
        account = self._account_of(caller)
        return account.own if account.fixed else named or account.own

    def _account_of(self, caller: Caller) -> _Account:
        key = self._keys.get(caller.name.removeprefix(KEY_PREFIX)) if caller.name.startswith(KEY_PREFIX) else None
        if key is None:
            limits = self._limits if caller.limits is None else self._granted(caller.limits)
            return _Account(caller.name, _own("token", caller.name), limits, caller.labels)
        limits = self._granted(key.limits)
        return _Account(key.name, key.thread or _own("key", key.name), limits, key.labels, key.fixed)

    def _granted(self, asked: Limits | None) -> Limits:
        """Return the limits of a key's threads: those asked for, capped by the gateway's."""
        return grant_limits(asked, self._limits or self._budgets.plan.thread, may_raise=False)

    def _check_new(self, thread_id: str, order: Order) -> None:
        """Refuse a reserved name, and more open threads than one key may have."""
        if self._is_kept(thread_id):
            raise ThreadClosedError(thread_id)
        if len(mine := self._owners.of(order.by)) >= self._threads_max and not self._end_idle(mine):
            message = f"this key has {self._threads_max:,} threads open, each used lately; have the operator end some"
            raise FaultError(Fault(status=429, kind="rate", code="too_many_threads", message=message, retry=False))

    def _is_kept(self, thread_id: str) -> bool:
        """Whether a name is reserved: a key's or token's own thread, or one configured for a key."""
        return thread_id.startswith(_OWN) or thread_id in self._given

    def _forget(self, event: AnyEvent) -> None:
        self._used.pop(event.thread_id, None)

    def _end_idle(self, threads: Iterable[str]) -> bool:
        """End the longest unused thread if it has been unused for :data:`IDLE_S`; whether one was ended."""
        last_ns = self._now_ns() - IDLE_S * NS_PER_S
        idle = [(self._used.get(name, self._since_ns), name) for name in threads if not self._is_kept(name)]
        return any(self._standing.end_idle(name) for used_ns, name in sorted(idle) if used_ns < last_ns)


def _own(kind: str, name: str) -> str:
    """Return the own thread of a key or token; a hash stands for a name that no thread may have."""
    plain = f"{kind}-{name}"
    return plain if THREAD_ID.fullmatch(plain) else f"{kind}-{sha256(name.encode()).hexdigest()[:40]}"


def _given(keys: Iterable[Key]) -> frozenset[str]:
    return frozenset(key.thread for key in keys if key.thread is not None)
