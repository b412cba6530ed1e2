"""Nodes answer only what a node of their cluster has let in, lately, and once."""

import pytest
from msgspec.structs import replace

from organism.api.tokens.token_book import Caller
from organism.cluster.routing.forwarded import VALID_S, ForwardedRequest, Signatures, digest_of, opened

REQUEST = ForwardedRequest(
    to="b",
    incarnation=3,
    partitions=(5,),
    method="POST",
    path="/v1/threads/x/messages",
    headers=(("idempotency-key", "k"),),
    caller=Caller("c", frozenset({"send"})),
    digest=digest_of(b"{}"),
)


class Time:
    """An instant that the test sets."""

    now_ns = 1_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def time() -> Time:
    return Time()


def test_request_comes_as_it_was_signed(time: Time) -> None:
    """Another node finds the caller, its scopes and everything else as the gate has let it in."""
    header = Signatures(b"key", time).signed(REQUEST)
    assert Signatures(b"key", time).admits(header)
    found = opened(header)
    assert replace(found, time_ns=0, nonce="") == REQUEST


def test_request_is_good_for_one_time(time: Time) -> None:
    """One that is recorded and sent again is refused, for as long as its time would let it in."""
    sender, receiver = Signatures(b"key", time), Signatures(b"key", time)
    header = sender.signed(REQUEST)
    assert receiver.admits(header)
    for _ in range(VALID_S * 3):
        assert not receiver.admits(header)
        assert receiver.admits(sender.signed(REQUEST))
        time.now_ns += 1_000_000_000


@pytest.mark.parametrize("apart_s", [-VALID_S - 1, VALID_S + 1])
def test_request_of_another_time_is_refused(time: Time, apart_s: int) -> None:
    """One that was signed long ago, or by a clock that is far off, is refused."""
    header = Signatures(b"key", time).signed(REQUEST)
    time.now_ns += apart_s * 1_000_000_000
    assert not Signatures(b"key", time).admits(header)


def test_request_of_others_is_refused(time: Time) -> None:
    """Who has not the key of the cluster can make up nothing, and change nothing of what is on its way."""
    receiver = Signatures(b"key", time)
    header = Signatures(b"other", time).signed(REQUEST)
    assert not receiver.admits(header)
    said, _, mac = Signatures(b"key", time).signed(REQUEST).partition(".")
    theirs = Signatures(b"key", time).signed(replace(REQUEST, path="/v1/stop")).partition(".")[0]
    for wrong in (f"{theirs}.{mac}", f"{said}.", said, "", ".", f"{said}.{mac}0", "\xe9.\xe9"):
        assert not receiver.admits(wrong)
    assert receiver.admits(f"{said}.{mac}")
