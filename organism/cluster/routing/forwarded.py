"""A request on its way from one node to another: signed, dated, for one process, and good for one time.

What is signed stands in one header, with a hash of the body. It is bound to the process it is meant for, so that a
process that has just begun need not know what its predecessor has seen.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from organism.amounts import NS_PER_S
from organism.api.tokens.token_book import Caller

PATH = "/v1/cluster/forwarded"
"""Where nodes send each other requests."""

HEADER = "organism-forwarded"

VALID_S = 90
"""So old, or so far ahead, a request may be: each node's clock is within 30 s of the database's."""


class ForwardedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as another node has let it in.

    Attributes:
        to: The node that is to answer.
        incarnation: Which process of that name.
        partitions: The partitions that are to answer: one, unless answers are gathered.
        gathers: Whether each is to answer on its own, in one list.
        method: As it came, like all that follows.
        path: Decoded.
        query: Without the question mark.
        headers: By lower-case names.
        caller: Who makes it; ``None`` for pages that ask for no token.
        digest: SHA-256 of the body.
        time_ns: When it was signed, nanoseconds since the Unix epoch.
        nonce: No other request has it.
    """

    to: str
    incarnation: int
    partitions: tuple[int, ...]
    gathers: bool = False
    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    caller: Caller | None = None
    digest: str
    time_ns: int = 0
    nonce: str = ""


class Signatures:
    """Signs requests to other nodes, and opens theirs, each once.

    Args:
        key: What all nodes of the cluster know, and nobody else.
        now_ns: The present instant.
    """

    def __init__(self, key: bytes, now_ns: Callable[[], int]) -> None:
        self._key = hmac.digest(key, b"organism forwarded requests", sha256)
        self._now_ns = now_ns
        self._seen: OrderedDict[str, int] = OrderedDict()

    def signed(self, request: ForwardedRequest) -> str:
        """Return what stands in the header."""
        dated = replace(request, time_ns=self._now_ns(), nonce=secrets.token_hex(12))
        said = urlsafe_b64encode(msgspec.json.encode(dated)).decode()
        return f"{said}.{self._mac(said)}"

    def admits(self, header: str) -> bool:
        """Whether a header was signed by a node of this cluster, lately, and comes for the first time."""
        said, _, mac = header.partition(".")
        if not hmac.compare_digest(self._mac(said).encode(), mac.encode("utf-8", "replace")):
            return False
        try:
            request, now_ns = opened(header), self._now_ns()
        except (ValueError, msgspec.MsgspecError):
            return False  # a node of another version has written it in another way
        if abs(now_ns - request.time_ns) > VALID_S * NS_PER_S or request.nonce in self._seen:
            return False
        self._seen[request.nonce] = now_ns
        # One that is forgotten here is too old by the time it was signed at, however far ahead that was.
        while self._seen and now_ns - next(iter(self._seen.values())) > 2 * VALID_S * NS_PER_S:
            self._seen.popitem(last=False)
        return True

    def _mac(self, said: str) -> str:
        return hmac.new(self._key, said.encode("utf-8", "replace"), sha256).hexdigest()


def opened(header: str) -> ForwardedRequest:
    """Read a header that was admitted."""
    return msgspec.json.decode(urlsafe_b64decode(header.partition(".")[0]), type=ForwardedRequest)


def digest_of(body: bytes) -> str:
    """Return the hash of a body."""
    return sha256(body).hexdigest()
