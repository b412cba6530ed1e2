"""Google's ``generateContent``, as a server speaks it: requests in, answers and streams out. Pure.

Source: the reference of ``POST /v1beta/models/{model}:generateContent`` and its kin.
"""

from collections.abc import Mapping
from typing import ClassVar

from organism.formats.errors.faults import Fault
from organism.formats.google_content.server_answer import GenerateWriter, answered, error_body
from organism.formats.google_content.server_request import read_request
from organism.formats.server_format import Asked, EventWriter, Json, Meta
from organism.llm.answers import Completion


class GoogleFormat:
    """Generated content; the model and whether to stream, which stand in its path, are fields of the body here."""

    keeps_answers: ClassVar[bool] = False
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
        return GenerateWriter(asked, meta)

    def error(self, fault: Fault) -> Json:
        """Write an error as Google does."""
        return error_body(fault)
