"""OpenAI's responses, as a server speaks them: requests in, answers and streams out. Pure.

Source: the reference of ``POST /v1/responses``.
"""

from collections.abc import Mapping
from typing import ClassVar

from organism.formats.errors.faults import Fault
from organism.formats.errors.openai_errors import error_body
from organism.formats.openai_responses.server_answer import answered
from organism.formats.openai_responses.server_request import read_request
from organism.formats.openai_responses.server_stream import ResponsesWriter
from organism.formats.server_format import Asked, EventWriter, Json, Meta
from organism.llm.answers import Completion


class ResponsesFormat:
    """Responses."""

    keeps_answers: ClassVar[bool] = True
    known_fields: ClassVar[frozenset[str]] = frozenset()
    header_fields: ClassVar[Mapping[str, str]] = {}

    def read(self, raw: Json, default_cap: int) -> Asked:
        """Read a request; see :meth:`organism.formats.server_format.ServerFormat.read`."""
        return read_request(raw, default_cap)

    def whole(self, asked: Asked, meta: Meta, answer: Completion) -> Json:
        """Write an answer; see :meth:`organism.formats.server_format.ServerFormat.whole`."""
        return answered(asked, meta, answer)

    def writer(self, asked: Asked, meta: Meta) -> EventWriter:
        """Return what writes an answer in pieces."""
        return ResponsesWriter(asked, meta)

    def error(self, fault: Fault) -> Json:
        """Write an error as OpenAI does."""
        return error_body(fault)
