"""The replies that askers wait for."""

from organism.messages import Envelope, Message
from organism.runtime.waiting.parked_messages import ParkedMessages
from organism.threads.approvals import WaitReason
from organism.threads.state_writer import ThreadStateWriter
from organism.threads.thread import Question, Thread


class Questions:
    """Gives askers their replies, or tells them that none will come.

    Args:
        parked: Resumes askers that have parked because the one they ask is parked.
        state_writer: Writes each reply until the asker's message is complete: a crash in between runs the asker again,
            and it must find the same reply.
    """

    def __init__(self, parked: ParkedMessages, state_writer: ThreadStateWriter) -> None:
        self._parked = parked
        self._state_writer = state_writer

    def answer(self, thread: Thread, envelope: Envelope, reply: Message) -> bool:
        """Give a question its reply.

        Returns:
            Whether its asker still waits; else the reply is late.
        """
        question = _open_question(thread, envelope)
        if question is None:
            return False
        question.reply = reply
        self._wake(thread, question)
        return True

    def fail(self, thread: Thread, envelope: Envelope, why: str) -> None:
        """Tell a question's asker that no reply will come; nothing to do if there was one."""
        question = _open_question(thread, envelope)
        if question is not None:
            question.failure = why
            self._wake(thread, question)

    def park_asker(self, thread: Thread, envelope: Envelope, waits: WaitReason) -> None:
        """The message that was just parked may be a question: its asker waits for the same, not for its timeout."""
        question = thread.questions.get(envelope.reply_to or "")
        if question is not None:
            question.parked = waits
            question.wake()

    def _wake(self, thread: Thread, question: Question) -> None:
        self._state_writer.save_answer(thread, question)
        question.wake()
        if question.parked is not None:
            question.parked = None
            self._parked.unpark_message(thread, question.key[0])


def _open_question(thread: Thread, envelope: Envelope) -> Question | None:
    question = thread.questions.get(envelope.reply_to or "")
    return question if question is not None and question.open else None
