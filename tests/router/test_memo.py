"""Paid answers: found by the very request that has paid, and by no other."""

from organism.llm.answers import Completion
from organism.router.memo import Memo
from organism.stores.memory import MemoryJournal

ANSWER = Completion(text="paid", model="m", finish_reason="stop", usage=None)


def test_another_request_at_the_same_place_is_asked_anew() -> None:
    """A handler that asks something else when it is run again does not get the answer to its first question."""
    memo = Memo(MemoryJournal())
    memo.keep("t", "msg_1", 0, "digest of a request", ANSWER)

    assert memo.find("t", "msg_1", 0, "digest of a request") is ANSWER
    assert memo.find("t", "msg_1", 0, "digest of another") is None
    assert memo.find("t", "msg_1", 1, "digest of a request") is None
    assert memo.find("t", "msg_2", 0, "digest of a request") is None
    assert memo.find("u", "msg_1", 0, "digest of a request") is None


def test_the_first_of_two_answers_counts() -> None:
    """Of two answers to one hedged call every run of a handler gets the same."""
    memo = Memo(MemoryJournal())
    memo.keep("t", "msg_1", 0, "digest", ANSWER)
    memo.keep("t", "msg_1", 0, "digest", Completion(text="later", model="m", finish_reason="stop", usage=None))

    assert memo.find("t", "msg_1", 0, "digest") is ANSWER
