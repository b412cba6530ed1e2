"""The formats that the gateway speaks, one constant each. Pure.

Each names the four functions of its folder that :class:`~organism.formats.server_format.ServerFormat` asks for.
"""

from organism.formats.anthropic_messages import server_answer as messages_answer
from organism.formats.anthropic_messages import server_errors as messages_errors
from organism.formats.anthropic_messages import server_request as messages_request
from organism.formats.errors import openai_errors
from organism.formats.google_content import embeddings as google_embeddings
from organism.formats.google_content import server_answer as google_answer
from organism.formats.google_content import server_request as google_request
from organism.formats.openai_chat import server_answer as chat_answer
from organism.formats.openai_chat import server_request as chat_request
from organism.formats.openai_completions import server as completions
from organism.formats.openai_embeddings import server as embeddings
from organism.formats.openai_responses import server_answer as responses_answer
from organism.formats.openai_responses import server_request as responses_request
from organism.formats.openai_responses.server_stream import ResponsesWriter
from organism.formats.server_format import ServerFormat

CHAT = ServerFormat(
    read=chat_request.read_request,
    whole=chat_answer.answered,
    writer=chat_answer.ChatWriter,
    error=openai_errors.error_body,
)

COMPLETIONS = ServerFormat(
    read=completions.read_request,
    whole=completions.answered,
    writer=completions.CompletionsWriter,
    error=openai_errors.error_body,
)

RESPONSES = ServerFormat(
    read=responses_request.read_request,
    whole=responses_answer.answered,
    writer=ResponsesWriter,
    error=openai_errors.error_body,
    keeps_answers=True,
)

EMBEDDINGS = ServerFormat(
    read=embeddings.read_request,
    whole=embeddings.answered,
    error=openai_errors.error_body,
)

MESSAGES = ServerFormat(
    read=messages_request.read_request,
    whole=messages_answer.answered,
    writer=messages_answer.MessagesWriter,
    error=messages_errors.error_body,
    known_fields=messages_request.KNOWN_FIELDS,
    header_fields={"anthropic-beta": "betas"},
)

GOOGLE = ServerFormat(
    read=google_request.read_request,
    whole=google_answer.answered,
    writer=google_answer.GenerateWriter,
    error=google_answer.error_body,
)

GOOGLE_EMBEDDING = ServerFormat(
    read=google_embeddings.read_request,
    whole=google_embeddings.answered,
    error=google_answer.error_body,
)

GOOGLE_EMBEDDINGS = ServerFormat(
    read=google_embeddings.read_batch,
    whole=google_embeddings.batch_answered,
    error=google_answer.error_body,
)
