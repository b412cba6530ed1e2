"""Base of the readers of formats with typed events: one answer, which says itself when it has ended. Pure."""

from organism.formats.answers.collector import AnswerCollector
from organism.formats.json_reading import JsonObject
from organism.llm.answers import Completion


class OneAnswerReader:
    """The properties of an :class:`~organism.formats.answers.decoder.AnswerReader`, from what has been collected.

    Args:
        answer: Where the pieces are collected.
    """

    def __init__(self, answer: AnswerCollector) -> None:
        self._answer = answer
        self._usage = answer.usage
        self.is_started = False

    @property
    def is_begun(self) -> bool:
        """Whether any of the answer has come."""
        return self._answer.is_begun

    @property
    def is_ended(self) -> bool:
        """Whether the format's last event has come, or the mark that the stream is over."""
        return self._answer.is_ended

    @property
    def is_complete(self) -> bool:
        """Whether it has ended properly."""
        return self._answer.is_complete

    @property
    def is_concluded(self) -> bool:
        """Whether it says that it has ended, or why, and no reason is an error."""
        return self._answer.is_concluded

    @property
    def is_counted(self) -> bool:
        """Whether usage has come."""
        return bool(self._usage)

    @property
    def is_void(self) -> bool:
        """Never: the format has no word for it but an error."""
        return False

    def counted(self, usage: JsonObject) -> Completion:
        """Return what has come before an error ended it, with the usage that the error carries."""
        self._usage.add(usage)
        self._answer.end("error")
        return self.completion()

    def completion(self) -> Completion:
        """Return the answer."""
        raise NotImplementedError

    def end(self) -> None:
        """Take ``[DONE]``, which is not part of these formats but which some servers write."""
        self._answer.is_ended = self._answer.is_ended or self.is_begun
