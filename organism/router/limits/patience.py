"""How long an attempt waits for its provider: for the first piece, between pieces, and in all."""

import math

import msgspec

from organism.concurrency.deadlines import Deadline
from organism.concurrency.loop_time import loop_time

PINGED_FACTOR = 6
"""So many times as long a provider may be silent that says all the while that it is at work."""


class Patience(msgspec.Struct, kw_only=True, eq=False):
    """When the exchange of one attempt is given up.

    Attributes:
        timeout_s: Seconds until it is, if its answer comes whole.
        stream_timeout_s: Seconds until it is, if its answer is streamed: as long as it goes on, unless said.
        first_token_s: Seconds until a streamed answer must show a sign of life; ``None`` for no such limit.
        between_tokens_s: Seconds it may be silent after that, likewise.
        deadline_s: When its call must be over, on the event loop's clock.
        until: When the exchange with the provider is ended; no cancellation from outside does that.
    """

    timeout_s: float
    stream_timeout_s: float = math.inf
    first_token_s: float | None = None
    between_tokens_s: float | None = None
    deadline_s: float = math.inf
    until: Deadline = msgspec.field(default_factory=Deadline)
    _begun_s: float = 0.0
    _latest: float = math.inf
    _heard: bool = False
    _word_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the request."""
        return loop_time() - self._begun_s

    def begin(self, *, is_read: bool) -> None:
        """The request goes out now.

        Args:
            is_read: Whether somebody waits for pieces of the answer.
        """
        self._begun_s = begun_s = loop_time()
        if not is_read:
            self.first_token_s = self.between_tokens_s = None
        longest_s = self.stream_timeout_s if is_read else self.timeout_s
        self._latest = min(self._latest, begun_s + longest_s, self.deadline_s)
        self._allow(self.first_token_s)

    def end_within(self, seconds: float) -> None:
        """Wait no longer than that.

        Never later than before: it is called again when the deadline comes, and when the thread ends.
        """
        self._latest = min(self._latest, loop_time() + seconds)
        self.until.move(min(self.until.at_s, self._latest))

    def end_now(self) -> None:
        """Wait no longer, also where more time was given."""
        self._latest = min(self._latest, loop_time())
        self.until.move(self._latest)

    def on_piece(self) -> None:
        """A piece of the answer has come."""
        self._heard = True
        self._allow(self.between_tokens_s)

    def on_ping(self) -> None:
        """Wait longer for a provider that says it is at work: with a limit, for a relay may say so of a dead one."""
        silence_s = self.between_tokens_s if self._heard else self.first_token_s
        if silence_s is not None:
            # From the last word, not from the last ping: a relay that pings for a dead provider must run out at last.
            until = min(loop_time() + silence_s, self._word_s + PINGED_FACTOR * silence_s)
            self.until.move(max(self.until.at_s, min(self._latest, until)))

    def what_was_late(self, *, abandoned: bool) -> str:
        """Say what has ended the exchange.

        Args:
            abandoned: Whether its caller has gone.
        """
        if loop_time() >= self._latest:
            return "abandoned by its caller" if abandoned else f"no answer within {self.elapsed_s:.3g} s"
        if self._heard:
            return f"silent for {self.between_tokens_s:g} s in the middle of the answer"
        return f"no sign of an answer within {self.first_token_s:g} s"

    def _allow(self, silence_s: float | None) -> None:
        self._word_s = loop_time()
        self.until.move(min(self._latest, math.inf if silence_s is None else self._word_s + silence_s))
