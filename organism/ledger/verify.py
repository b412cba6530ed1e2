"""Is a stored ledger what it was written to be? Reads every entry again and names the first that cannot be right. Pure.

Three things are checked: that no entry was changed or taken out (each carries a hash over the one before it), that
every entry is legal where it stands, and that what each settlement cost follows from the entry itself.
"""

import re
from collections.abc import Callable, Iterable

import msgspec

from organism.amounts import ZERO, Amounts
from organism.amounts.units import numbers_of
from organism.errors import ConfigError, OrganismError
from organism.journal import StoredEntry
from organism.ledger.entries import (
    AccountClosed,
    AccountOpened,
    AnyEntry,
    Checkpoint,
    Overran,
    Released,
    Reserved,
    Settled,
    decode_entry,
)
from organism.ledger.ledger import Ledger
from organism.pricing.rates import cost_nanousd

_ANCHOR = re.compile(r"[0-9]{1,18}:[0-9a-f]{64}")


class VerificationResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of verifying a ledger.

    Attributes:
        entries: How many entries were read.
        first: The number of the first; above 1 when older ones have been forgotten.
        last: The number of the last.
        accounts: How many accounts are open.
        open_holds: How many holds are not resolved.
        fault_seq: The first entry that cannot be right; ``None`` when all are.
        fault: What is wrong with it.
        head: The last entry as an anchor, to be kept elsewhere; empty where entries have no hashes.
    """

    entries: int
    first: int
    last: int
    accounts: int
    open_holds: int
    fault_seq: int | None = None
    fault: str | None = None
    head: str = ""


class Anchor(msgspec.Struct, frozen=True):
    """An entry that is known to have been there: what was printed when a ledger was verified before.

    Attributes:
        seq: Its number.
        hash: Its hash.
    """

    seq: int
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> "Anchor":
        """Read one from the form ``412:9f86d0...``.

        Raises:
            ConfigError: If it is none.
        """
        number, _, digits = text.strip().partition(":")
        if not _ANCHOR.fullmatch(text.strip()):
            raise ConfigError(
                f"{text!r} is no anchor; it is what 'organism ledger verify' has printed behind 'anchor', "
                "a number, a colon and 64 hexadecimal digits"
            )
        return cls(int(number), bytes.fromhex(digits))

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.seq}:{self.hash.hex()}"


def parse_anchors(text: str) -> dict[int | None, Anchor]:
    """Read what a check has printed: the anchor of the one journal (``None``), or one for each partition of a cluster.

    Raises:
        ConfigError: If it is neither ``412:9f86d0...`` nor ``0=412:9f86d0...,3=7:5e884...``.
    """
    anchors: dict[int | None, Anchor] = {}
    for part in text.split(","):
        number, equals, anchor = part.strip().rpartition("=")
        partition = int(number) if equals and number.isascii() and number.isdigit() else None
        if equals and partition is None:
            raise ConfigError(f"{part!r} is no anchor: it begins with no partition's number")
        anchors[partition] = Anchor.parse(anchor)
    return anchors


def anchors_text(anchors: dict[int | None, str]) -> str:
    """Write anchors as :func:`parse_anchors` reads them; journals without entries have none."""
    return ",".join(head if number is None else f"{number}={head}" for number, head in anchors.items() if head)


class LedgerFaultError(OrganismError):
    """An entry cannot be right."""


def verify(
    stored: Iterable[StoredEntry],
    chain_hash: Callable[[bytes, str], bytes],
    genesis: bytes,
    anchor: Anchor | None = None,
) -> VerificationResult:
    """Check a ledger from its first stored entry to its last.

    Without an anchor, a ledger that was cut off or put back whole from an older copy is right in itself.

    Args:
        anchor: An entry that is known to have been there.
        stored: The entries in order.
        chain_hash: Returns the hash of an entry from the hash before it and its JSON.
        genesis: What the first entry of all is chained to.
    """
    reading = _Reading(chain_hash, genesis, anchor)
    for entry in stored:
        try:
            reading.take(entry)
        except (LedgerFaultError, OrganismError, msgspec.MsgspecError, KeyError) as error:
            reason = f"names {error} which is not open" if isinstance(error, KeyError) else str(error)
            return reading.verdict(entry.seq, reason)
    return reading.end()


class _Reading:
    """A ledger while it is read."""

    def __init__(self, chain_hash: Callable[[bytes, str], bytes], genesis: bytes, anchor: Anchor | None = None) -> None:
        self._anchor = anchor
        self._chain_hash = chain_hash
        self._last_hash = genesis
        self._ledger = Ledger()
        self._first = 0
        self._count = 0
        self._last_seq = 0
        self._started = False
        self._overrun: dict[str, Amounts] = {}

    def take(self, stored: StoredEntry) -> None:
        """Check one entry and fold it in."""
        self._check_chain(stored)
        entry = decode_entry(stored.body.encode())
        if entry.seq != stored.seq:
            raise LedgerFaultError(f"is stored under number {stored.seq} but says {entry.seq}")
        # After old entries were forgotten, balances are known again from the next checkpoint on.
        if self._started or stored.seq == 1 or isinstance(entry, Checkpoint):
            self._check_legal(entry)
            touched = self._accounts_of(entry)
            self._ledger.restore((entry,))
            self._check_balances(touched)
            if not self._started:
                self._check_held()  # all others follow from legal entries
            self._started = True

    def _check_chain(self, stored: StoredEntry) -> None:
        forgotten = not self._count and stored.seq > 1
        if self._count and stored.seq != self._last_seq + 1:
            raise LedgerFaultError(f"follows number {self._last_seq}: entries between them are missing")
        if not forgotten and self._chain_hash(self._last_hash, stored.body) != stored.hash:
            raise LedgerFaultError("does not match its hash: it or the one before it was changed")
        if self._anchor is not None and stored.seq == self._anchor.seq and stored.hash != self._anchor.hash:
            raise LedgerFaultError("is not the one of the anchor: the ledger was put back or written anew")
        self._first = self._first or stored.seq
        self._count += 1
        self._last_seq, self._last_hash = stored.seq, stored.hash

    def _check_legal(self, entry: AnyEntry) -> None:
        match entry:
            case AccountOpened(account=account) if self._ledger.has(account):
                raise LedgerFaultError(f"opens {account} a second time")
            case AccountClosed(account=account) if self._ledger.balance(account).open_holds:
                raise LedgerFaultError(f"closes {account}, which carries holds")
            case Reserved(hold_id=hold_id) if self._ledger.hold(hold_id) is not None:
                raise LedgerFaultError(f"reserves hold {hold_id} a second time")
            case Settled(hold_id=hold_id) | Released(hold_id=hold_id) if self._ledger.hold(hold_id) is None:
                raise LedgerFaultError(f"resolves hold {hold_id}, which is not open")
            case Overran(hold_id=hold_id, amounts=amounts):
                self._overrun[hold_id] = amounts
            case Settled():
                self._check_cost(entry)
            case Checkpoint() if self._started:
                self._check_checkpoint(entry)
            case _:
                pass

    def _check_cost(self, entry: Settled) -> None:
        """Compute a settlement's cost again from its own buckets and prices."""
        total = entry.amounts + self._overrun.pop(entry.hold_id, Amounts())
        if entry.usage is not None and entry.usage.total != total.tokens:
            raise LedgerFaultError(f"charges {total.tokens} tokens for a usage of {entry.usage.total}")
        if entry.usage is not None and entry.rates is not None:
            cost = cost_nanousd(entry.rates, entry.usage)
            if cost != total.cost_nanousd:
                raise LedgerFaultError(f"charges {total.cost_nanousd} nano-USD where its prices make {cost}")

    def _check_checkpoint(self, entry: Checkpoint) -> None:
        known = {account: self._ledger.balance(account) for account in self._ledger.accounts}
        if {balance.account: balance for balance in entry.balances} != known:
            raise LedgerFaultError("is a checkpoint of other balances than the entries before it make")

    def _accounts_of(self, entry: AnyEntry) -> tuple[str, ...]:
        """Return the accounts that an entry names, or that the hold does which it resolves."""
        if isinstance(entry, Overran | Settled | Released):
            hold = self._ledger.hold(entry.hold_id)
            return () if hold is None else hold.accounts
        named = getattr(entry, "accounts", None) or (getattr(entry, "account", None),)
        return tuple(account for account in named if account is not None)

    def _check_balances(self, accounts: tuple[str, ...]) -> None:
        for account in filter(self._ledger.has, accounts):
            balance = self._ledger.balance(account)
            if min(*numbers_of(balance.spent), *numbers_of(balance.held)) < 0:
                raise LedgerFaultError(f"makes a balance of {account} negative")

    def _check_held(self) -> None:
        """Compare what the balances of a checkpoint hold with its open holds: nothing before it can be asked."""
        held = dict.fromkeys(self._ledger.accounts, ZERO)
        for hold in self._ledger.open_holds:
            for account in hold.accounts:
                held[account] += hold.amounts
        if any(self._ledger.balance(account).held != amounts for account, amounts in held.items()):
            raise LedgerFaultError("has more or less held than its open holds hold")

    def end(self) -> VerificationResult:
        """Look for the anchor's entry after the last one."""
        try:
            self._check_end()
        except LedgerFaultError as error:
            return self.verdict(self._last_seq, str(error))
        return self.verdict(None, None)

    def _check_end(self) -> None:
        if self._anchor is None:
            return
        if self._last_seq < self._anchor.seq:
            raise LedgerFaultError(
                f"is the last, but the anchor is of entry {self._anchor.seq}: the newest are missing"
            )
        if self._first > self._anchor.seq:
            raise LedgerFaultError(
                f"is checked, but the anchor's entry {self._anchor.seq} is older than all that are kept"
            )

    def verdict(self, fault_seq: int | None, fault: str | None) -> VerificationResult:
        """Sum up."""
        return VerificationResult(
            entries=self._count,
            first=self._first,
            last=self._last_seq,
            accounts=len(self._ledger.accounts),
            open_holds=len(self._ledger.open_holds),
            fault_seq=fault_seq,
            fault=fault,
            head=str(Anchor(self._last_seq, self._last_hash)) if self._last_hash and self._count else "",
        )
