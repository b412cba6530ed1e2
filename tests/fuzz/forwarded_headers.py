"""Headers in which nodes of a cluster pass requests on: forged, changed on their way, replayed, cut, huge."""

import random
import string
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from organism.api.tokens.token_book import Caller
from organism.cluster.routing.forwarded import VALID_S, ForwardedRequest, Signatures, digest_of, opened
from tests.fuzz.junk import broken, damaged, written

NOW_NS = 1_800_000_000_000_000_000
S = 1_000_000_000
SENT = ForwardedRequest(
    to="b", incarnation=3, partitions=(5,), method="POST", path="/v1/threads/x/messages", query="a=b",
    headers=(("idempotency-key", "k"), ("accept", "*/*")), caller=Caller("c", frozenset({"send"})),
    digest=digest_of(b"{}"),
)  # fmt: skip


class _Keyed(Signatures):
    """Signs anything, as whoever has the key can."""

    def of(self, said: bytes) -> str:
        text = urlsafe_b64encode(said).decode()
        return f"{text}.{self._mac(text)}"


def faults_of(chance: random.Random) -> Iterator[str]:
    """Say what is wrong with which headers a node lets in: those of its cluster, as they were signed, lately, once."""
    now = [NOW_NS]
    sender, receiver = _Keyed(b"key", lambda: NOW_NS), Signatures(b"key", lambda: now[0])
    header = sender.signed(SENT)
    wrong, what = _wrong(header, sender, chance)
    if wrong != header and receiver.admits(wrong):
        yield f"let in: {what}: {wrong[:500]}"
    if not receiver.admits(header):
        yield "the right one is not let in, after a wrong one"
    now[0] += chance.choice((0, 1, VALID_S, 2 * VALID_S, 3 * VALID_S)) * S
    if receiver.admits(header):
        yield "let in twice"
    _read_by_key(sender, chance)


def _wrong(header: str, sender: _Keyed, chance: random.Random) -> tuple[str, str]:
    said, _, mac = header.partition(".")
    other = sender.signed(msgspec.structs.replace(SENT, path="/v1/stop"))
    late = Signatures(b"key", lambda: NOW_NS + chance.choice((-1, 1)) * (VALID_S + 1) * S)
    ways: dict[str, Callable[[], str]] = {
        "damaged": lambda: damaged(header.encode(), chance).decode("latin-1"),
        "another's signature": lambda: f"{other.partition('.')[0]}.{mac}",
        "another key": lambda: Signatures(b"other", lambda: NOW_NS).signed(SENT),
        "cut": lambda: header[: chance.randrange(len(header))],
        "more behind it": lambda: f"{said}.{mac}{chance.choice(string.printable)}",
        "huge": lambda: f"{said * chance.choice((2, 50))}.{mac}",
        "noise": lambda: "".join(chr(chance.randrange(256)) for _ in range(chance.randrange(200))),
        "of another time": lambda: late.signed(SENT),
    }
    what = chance.choice(list(ways))
    return ways[what](), what


def _read_by_key(sender: _Keyed, chance: random.Random) -> None:
    """Read what a node of another version may sign: it is let in only if it can be read, and never a crash."""
    value: Any = {**msgspec.to_builtins(SENT), "time_ns": NOW_NS, "nonce": f"{chance.random()}"}
    for _ in range(chance.choice((1, 1, 2))):
        value = broken(value, chance)
    raw = written(value, chance).encode("utf-8", "surrogatepass")
    header = sender.of(damaged(raw, chance) if chance.randrange(4) == 0 else raw)
    if Signatures(b"key", lambda: NOW_NS).admits(header):
        msgspec.json.encode(opened(header))
