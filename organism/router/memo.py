"""Answers already paid for, kept while their message is not done: a second run of a handler does not pay again."""

from hashlib import sha256

import msgspec

from organism.router.provider import Completion, CompletionRequest


class Memo:
    """Paid answers by message and by the number of the call within its handler."""

    def __init__(self) -> None:
        self._answers: dict[str, dict[int, tuple[bytes, Completion]]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, message_id: str, call_index: int, request: CompletionRequest) -> Completion | None:
        """Return the paid answer to this very request, or ``None``: a handler that asks anew pays anew."""
        found = self._answers.get(message_id, {}).get(call_index)
        return found[1] if found is not None and found[0] == _digest(request) else None

    def keep(self, message_id: str, call_index: int, request: CompletionRequest, completion: Completion) -> None:
        """Remember a paid answer until the message is done."""
        self._answers.setdefault(message_id, {})[call_index] = (_digest(request), completion)

    def forget(self, message_id: str) -> None:
        """The message is done; its answers are not needed any more."""
        self._answers.pop(message_id, None)


def _digest(request: CompletionRequest) -> bytes:
    return sha256(msgspec.json.encode(request)).digest()
