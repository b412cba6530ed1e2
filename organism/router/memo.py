"""Paid answers, kept until their message is done, so that a second run of a handler does not pay again.

An answer is kept in the same step as the settlement that paid for it, so no crash can come between the two.
"""

import msgspec

from organism.journal import Drop, Journal, Keep
from organism.llm.provider import Answer

PAID = "paid:"
"""What the keys of paid answers begin with in the journal."""


class PaidAnswer(msgspec.Struct, frozen=True):
    """A paid answer.

    Attributes:
        message_id: The message whose handler made the call.
        index: The number of the call within the handler, from 0.
        digest: SHA-256 of the request, in hexadecimal digits.
        answer: The answer.
    """

    message_id: str
    index: int
    digest: str
    answer: Answer


class Memo:
    """Paid answers by thread, message and the number of the call within its handler.

    Args:
        journal: Where the answers are kept.

    Attributes:
        threads: The answers by thread, message and number; a thread is in it from its first call.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.threads: dict[str, dict[str, dict[int, PaidAnswer]]] = {}

    def __len__(self) -> int:
        return sum(len(messages) for messages in self.threads.values())

    def find(self, thread_id: str, message_id: str, index: int, digest: str) -> Answer | None:
        """Return the paid answer to exactly this request, or ``None``: a different request is paid again.

        Args:
            message_id: The message whose handler makes the call.
            index: The number of the call within the handler, from 0.
            digest: The request's; see :func:`organism.router.planning.request_checks.checked_request`.
        """
        if (messages := self.threads.get(thread_id)) is None:
            return None
        paid = messages.get(message_id, {}).get(index)
        return paid.answer if paid is not None and paid.digest == digest else None

    def has_paid(self, thread_id: str, message_id: str) -> bool:
        """Whether any answer is remembered for a message."""
        return bool(self.threads.get(thread_id, {}).get(message_id))

    def keep(self, thread_id: str, message_id: str, index: int, digest: str, answer: Answer) -> None:
        """Remember a paid answer until its message is done.

        Of two answers to one hedged call the first counts, in every run of the handler.
        """
        if self.find(thread_id, message_id, index, digest) is not None:
            return
        paid = PaidAnswer(message_id, index, digest, answer)
        self.restore(thread_id, paid)
        self._journal.append(Keep(_key(paid), thread_id, paid))

    def restore(self, thread_id: str, paid: PaidAnswer) -> None:
        """Add an answer that the journal has kept."""
        self.threads.setdefault(thread_id, {}).setdefault(paid.message_id, {})[paid.index] = paid

    def forget(self, thread_id: str, message_id: str) -> None:
        """Drop the answers of a message that is done."""
        if (messages := self.threads.get(thread_id)) is None:
            return
        for paid in messages.pop(message_id, {}).values():
            self._journal.append(Drop(_key(paid), thread_id))

    def forget_thread(self, thread_id: str) -> None:
        """Forget the answers of a thread that has ended; the journal drops its state by itself."""
        self.threads.pop(thread_id, None)


def _key(paid: PaidAnswer) -> str:
    return f"{PAID}{paid.message_id}:{paid.index}"
