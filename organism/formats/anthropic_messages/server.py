"""Anthropic's messages, as a server speaks them: requests in, answers and streams out. Pure.

Source: the reference of ``POST /v1/messages``.
"""

from collections.abc import Mapping
from typing import ClassVar

from organism.formats.anthropic_messages.server_answer import MessagesWriter, answered
from organism.formats.anthropic_messages.server_errors import error_body
from organism.formats.anthropic_messages.server_request import KNOWN_FIELDS, read_request
from organism.formats.errors.faults import Fault
from organism.formats.server_format import Asked, EventWriter, Json, Meta
from organism.llm.answers import Completion


class MessagesFormat:
    """Messages."""

    keeps_answers: ClassVar[bool] = False
    known_fields: ClassVar[frozenset[str]] = KNOWN_FIELDS
    header_fields: ClassVar[Mapping[str, str]] = {"anthropic-beta": "betas"}

    def read(self, raw: Json, default_cap: int) -> Asked:
        """Read a request; see :meth:`organism.formats.server_format.ServerFormat.read`."""
        request, stream = read_request(raw, default_cap)
        return Asked(request=request, stream=stream)

    def whole(self, asked: Asked, meta: Meta, answer: Completion) -> Json:
        """Write an answer; see :meth:`organism.formats.server_format.ServerFormat.whole`."""
        del asked
        return answered(meta, answer)

    def writer(self, asked: Asked, meta: Meta) -> EventWriter:
        """Return what writes an answer in pieces."""
        return MessagesWriter(asked, meta)

    def error(self, fault: Fault) -> Json:
        """Write an error as Anthropic does."""
        return error_body(fault)
