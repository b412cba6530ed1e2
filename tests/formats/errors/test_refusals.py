"""What providers say when they say no, as they really write it: what it means for money, and who is asked next."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from organism.errors import ProviderError, RejectedError, UncertainError
from organism.formats.answers.decoder import AnswerDecoder
from organism.formats.anthropic_messages.answer import MessagesReader
from organism.formats.errors.refusals import parse_answer, refused_in, refused_or_uncertain
from organism.formats.openai_chat.answer import ChatReader
from organism.formats.openai_responses.answer import ResponsesReader
from organism.formats.vendors import COMPATIBLE
from organism.llm.requests import ChatMessage, CompletionRequest

ASKED = CompletionRequest(model="m", messages=(ChatMessage("user", "go"),), max_output_tokens=9)

JSON = dict[str, object]


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> JSON:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str) -> JSON:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def google(code: int, status: str, message: str, reason: str = "") -> list[JSON]:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return [{"error": {"code": code, "message": message, "status": status, "details": details}}]


OVERLOADED = [
    (503, openai("The model is overloaded", None, "server_error")),
    (503, google(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    (503, {"object": "error", "message": "Service unavailable.", "type": "internal_server_error", "code": "1000"}),
    (503, {"detail": "Service temporarily unavailable"}),
    (
        503,
        {"success": False, "errors": [{"code": 3040, "message": "Capacity temporarily exceeded, please try again."}]},
    ),
    (503, b"no healthy upstream"),
    (503, b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>"),
    (503, b""),
    (503, {"message": "Bedrock is unable to process your request."}),
    (503, {"error": "Model mistralai/x is currently loading", "estimated_time": 20.0}),
    (503, b"upstream connect error or disconnect/reset before headers. reset reason: connection failure"),
    (503, {"error": {"code": 503, "message": "There is no available model provider that meets your requirements"}}),
    (529, b"overloaded"),
    (529, anthropic("overloaded_error", "Overloaded")),
    (500, anthropic("overloaded_error", "Overloaded")),
    (498, openai("Flex tier capacity exceeded, please try again later", None, "tokens")),
    (409, b"conflict"),
    (425, b"too early"),
    (502, b"<html><title>502 Bad Gateway</title>connect() failed: Connection refused</html>"),
    (502, {"error": {"code": 502, "message": "Provider is overloaded"}}),
    (521, b"<html>Web server is down</html>"),
    (522, b""),
    (523, b"origin is unreachable"),
    (525, b""),
    (526, b""),
    (530, b"error code: 1033"),
    (429, {"message": "Model is not ready for inference", "__type": "com.amazon#ModelNotReadyException"}),
    (503, b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'),
    (500, 'data: {"type":"error","error":{"type":"overloaded_error","message":"Over\u2028loaded"}}\r\n\r\n'.encode()),
]
FAILED = [
    (500, openai("The server had an error while processing your request. Sorry about that!", None, "server_error")),
    (500, google(500, "INTERNAL", "An internal error has occurred.")),
    (500, anthropic("api_error", "Internal server error")),
    (500, b"Internal Server Error"),
    (500, b"<html><h1>Internal Server Error</h1></html>"),
    (500, {"detail": "Internal Server Error"}),
    (507, {"error": "no space"}),
]
RATE = [
    (429, openai("Rate limit reached for requests", "rate_limit_exceeded", "requests")),
    (429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing.")),
    (429, anthropic("rate_limit_error", "This request would exceed your organization's rate limit")),
    (429, b""),
    (429, {"message": "Too many requests, please wait", "__type": "ThrottlingException"}),
    (429, {"detail": "Requests rate limit exceeded"}),
    (420, b"enhance your calm"),
    (403, {"error": {"message": "rate limit exceeded", "code": "rate_limit_exceeded"}}),
]
CREDIT = [
    (402, {"error": {"code": 402, "message": "Insufficient credits. Add more using the settings page"}}),
    (402, b""),
    (429, openai("You exceeded your current quota, please check your plan and billing details.", "insufficient_quota")),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API.")),
    (402, openai("Insufficient Balance", "invalid_request_error", "unknown_error")),
    (
        429,
        {
            "error": {
                "message": "Your account is suspended: insufficient balance",
                "type": "exceeded_current_quota_error",
            }
        },
    ),
    (400, anthropic("invalid_request_error", "You have reached your specified API usage limits.")),
    (403, openai("Your team has either used all available credits or reached its monthly spending limit.")),
]
KEY = [
    (401, openai("Incorrect API key provided: sk-x. You can find your API key at ...", "invalid_api_key")),
    (401, anthropic("authentication_error", "invalid x-api-key")),
    (400, google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "API_KEY_INVALID")),
    (403, google(403, "PERMISSION_DENIED", "Your project has been denied access.")),
    (401, {"detail": "Unauthorized"}),
    (
        403,
        {"message": "The security token included in the request is invalid.", "__type": "UnrecognizedClientException"},
    ),
    (401, {"error": {"message": "No auth credentials found", "code": 401}}),
    (403, b"<html>Forbidden</html>"),
    (400, openai("This organization has been disabled.")),
    (403, openai("Country, region, or territory not supported", "unsupported_country_region_territory")),
    (400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
]
MODEL = [
    (404, openai("The model `gpt-9` does not exist or you do not have access to it.", "model_not_found")),
    (404, anthropic("not_found_error", "model: claude-9")),
    (404, google(404, "NOT_FOUND", "models/gemini-0 is not found for API version v1beta")),
    (400, openai("The model `llama-x` has been decommissioned and is no longer supported.", "model_decommissioned")),
    (404, {"error": 'model "llama9" not found, try pulling it first'}),
    (404, {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}),
    (400, {"object": "error", "message": "Invalid model: mistral-0", "type": "invalid_model", "code": "1500"}),
    (404, {"error": {"message": "No endpoints found for x/y.", "code": 404}}),
    (403, openai("Project `p` does not have access to model `gpt-9`", "model_not_found")),
    (410, b""),
]
CONTEXT = [
    (400, openai("This model's maximum context length is 8192 tokens.", "context_length_exceeded")),
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")),
    (
        400,
        google(400, "INVALID_ARGUMENT", "The input token count (1100000) exceeds the maximum number of tokens allowed"),
    ),
    (413, anthropic("request_too_large", "Request exceeds the maximum size")),
    (413, openai("Request too large for model `m` on tokens per minute (TPM)", "rate_limit_exceeded", "tokens")),
    (413, b"<html><title>413 Request Entity Too Large</title></html>"),
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
            }
        },
    ),
    (400, {"message": "Input is too long for requested model.", "__type": "ValidationException"}),
]
REQUEST = [
    (400, openai("Unsupported value: 'temperature' does not support 0.2 with this model.", "unsupported_value")),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required", "type": "value_error.missing"}]}),
    (400, anthropic("invalid_request_error", "messages: text content blocks must be non-empty")),
    (400, b"bad request"),
    (415, b""),
    (400, openai("Invalid value: 'overloaded'. Supported values are: 'auto' and 'none'.")),
    (400, openai("Invalid schema for function 'rate_limit': in context=(), object is missing properties")),
]
POLICY = [
    (400, openai("Your request was rejected as a result of our safety system.", "content_policy_violation")),
    (
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "filtered",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
    ),
    (403, {"error": {"code": 403, "message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}}),
    (400, {"code": "data_inspection_failed", "message": "Input data may contain inappropriate content."}),
    (
        400,
        openai("Invalid prompt: your prompt was flagged as potentially violating our usage policy.", "invalid_prompt"),
    ),
]
ADDRESS = [
    (404, openai("Invalid URL (POST /v1/v1/chat/completions)")),
    (404, b"<html>Not Found</html>"),
    (404, {"detail": "Not Found"}),
    (405, {"detail": "Method Not Allowed"}),
    (301, b""),
    (307, b"<html>moved</html>"),
]
TABLE: dict[str, list[Any]] = {
    "overloaded": OVERLOADED, "failed": FAILED, "rate": RATE, "credit": CREDIT, "key": KEY, "model": MODEL,
    "context": CONTEXT, "request": REQUEST, "policy": POLICY, "address": ADDRESS,
}  # fmt: skip
ROWS = [(meaning, status, said) for meaning, rows in TABLE.items() for status, said in rows]


def written(said: object) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode()


@pytest.mark.parametrize(("meaning", "status", "said"), ROWS)
def test_refusal_is_taken_for_what_it_means(meaning: str, status: int, said: object) -> None:
    """Whatever shape a provider says no in, nothing was worked on: nothing is charged, and the reason is known."""
    error = refused_or_uncertain("p", status, written(said), {})

    assert isinstance(error, RejectedError), error
    assert error.meaning == meaning
    assert error.status == status
    assert error.again == (meaning in {"overloaded", "failed", "rate"})
    assert (error.rules_out is not None) == (meaning in {"context", "model", "key", "credit", "address"})


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (408, openai("Request timed out")),
        (499, b"client closed request"),
        (500, b""),
        (502, b"<html><title>502 Bad Gateway</title></html>"),
        (502, {"error": {"code": 502, "message": "Provider returned error"}}),
        (502, b""),
        (503, b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"),
        (504, google(504, "DEADLINE_EXCEEDED", "The request timed out.")),
        (504, b"upstream request timeout"),
        (520, b"<html>Web server is returning an unknown error</html>"),
        (524, b"<html>A timeout occurred</html>"),
    ],
)
def test_what_may_have_been_worked_on_is_uncertain(status: int, said: object) -> None:
    """Where somebody in between gave up on a server that had the request, the work may have been done and billed."""
    assert isinstance(refused_or_uncertain("p", status, written(said), {}), UncertainError)


@pytest.mark.parametrize("status", [500, 503, 529])
def test_wish_to_be_asked_again_is_word_enough(status: int) -> None:
    """A bare ``Retry-After`` says that nothing was done and that it may be, later."""
    error = refused_or_uncertain("p", status, b"", {"retry-after": "2"})

    assert isinstance(error, RejectedError)
    assert (error.again, error.retry_after_s) == (True, 2)


IN_200 = [
    ({"error": {"message": "Rate limit exceeded: free-models-per-day", "code": 429}, "user_id": "u"}, "rate"),
    ({"error": {"message": "No auth credentials found", "code": 401}}, "key"),
    ({"error": "model is overloaded"}, "overloaded"),
    ({"errors": ["Capacity temporarily exceeded"]}, "overloaded"),
    ({"detail": "Insufficient balance"}, "credit"),
    ({"error_code": 18, "error_msg": "Open api qps request limit reached"}, "rate"),
    ({"error_code": 336100, "error_msg": "try again"}, "failed"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded"),
    ({"object": "error", "message": "This model's maximum context length is 9 tokens", "code": 400}, "context"),
    ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down", "param": None}, "rate"),
    ([{"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}], "overloaded"),
    ({"error": {"message": "something", "code": None}}, "failed"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "meaning"), IN_200)
def test_error_in_place_of_an_answer_is_a_refusal(said: object, meaning: str) -> None:
    """A provider that says 200 and means no is refused like one that says so by its status."""
    with pytest.raises(RejectedError) as caught:
        parse_answer(json.dumps(said), "p")

    assert caught.value.meaning == meaning


@pytest.mark.parametrize(("said", "meaning"), IN_200)
def test_error_after_some_of_the_answer_is_uncertain(said: object, meaning: str) -> None:
    """The same words in the middle of an answer do not undo the work."""
    error = refused_in(said, "p", begun=True)

    assert isinstance(error, UncertainError), meaning


def test_error_that_was_counted_or_hides_a_lost_answer_is_uncertain() -> None:
    """Usage beside an error, or a gateway's word that it lost the answer, may be on the bill."""
    assert isinstance(refused_in(openai("x") | {"usage": {"prompt_tokens": 3}}, "p"), UncertainError)
    assert isinstance(refused_in({"error": {"message": "Provider returned error", "code": 502}}, "p"), UncertainError)
    assert isinstance(refused_in(anthropic("api_error", "Internal server error"), "p", started=True), UncertainError)
    assert isinstance(refused_in(anthropic("overloaded_error", "Overloaded"), "p", started=True), RejectedError)


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"message": {"content": "error"}}], "error": None},
        {"type": "message", "content": [], "error": None},
        {"output": [], "status": "completed", "error": None},
        {"data": [], "message": "ok"},
        {"choices": None},
    ],
)
def test_answer_is_no_error(answer: JSON) -> None:
    """What looks like an answer is read as one."""
    assert refused_in(answer, "p") is None


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"x-request-id": "req_abc"}, "request req_abc"),
        ({"request-id": "req_011"}, "request req_011"),
        ({"apim-request-id": "a-b"}, "request a-b"),
        ({"x-amzn-requestid": "aws-1"}, "request aws-1"),
        ({"cf-ray": "8f-AMS"}, "request 8f-AMS"),
    ],
)
def test_operator_is_told_the_providers_words_and_its_name_for_the_request(headers: dict[str, str], words: str) -> None:
    """What a provider's support asks for stands in the error: its words, its status, its id of the request."""
    error = refused_or_uncertain("p", 400, written(openai("temperature is out of range")), headers)

    assert str(error) == f"provider 'p' answered 400: temperature is out of range ({words})"


@pytest.mark.parametrize(
    "body",
    [
        b"\x00" * 100,
        b"{" * 100_000,
        b'{"error": ' * 5000,
        b"<" * 100_000,
        b"\xff\xfe",
        b"[]",
        b"null",
        b'"words"',
        b"data:",
    ],
)
def test_no_body_is_too_odd_to_be_read(body: bytes) -> None:
    """Whatever stands in a refusal, it is bounded and is a refusal."""
    error = refused_or_uncertain("p", 429, body, {})

    assert isinstance(error, RejectedError)
    assert len(str(error)) < 700


@pytest.mark.parametrize("kind", ["chat", "messages", "responses"])
def test_answer_of_nothing_is_no_answer(kind: str) -> None:
    """A relay that nobody served behind writes null where an answer would be: whole, it is none, and costs nothing."""
    readers: dict[str, Callable[[], Any]] = {
        "chat": lambda: ChatReader(ASKED, COMPATIBLE),
        "messages": lambda: MessagesReader(ASKED),
        "responses": lambda: ResponsesReader(ASKED, COMPATIBLE),
    }
    decoder = AnswerDecoder("p", readers[kind]())
    decoder.feed(b'{"id": null, "choices": null, "content": null, "output": null, "model": null}')

    with pytest.raises(ProviderError, match="an answer without content"):
        decoder.finish()


@pytest.mark.parametrize(
    "page",
    [b"<title>" * 9_300, b"<p><style>" * 6_500, b"<script " * 8_000, b"<" * 65_000, b"&#x110000;" * 6_500],
    ids=["titles", "styles", "scripts", "signs", "characters"],
)
def test_page_of_nothing_but_beginnings_is_read_in_one_go(page: bytes) -> None:
    """A page in place of an answer keeps nobody else waiting while its words are looked for, whatever it is made of."""
    begun_s = time.process_time()
    refused_or_uncertain("p", 502, page, {})
    assert time.process_time() - begun_s < 5  # a hundredth of a second; patterns that look for each end took twenty


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (
            "<html><head><title>502 Bad &amp; Gateway</title></head><body><h1>Oh</h1>no</body>",
            "502 Bad & Gateway Oh no",
        ),
        ("<title>Blocked</title><style>p{}</style><script>x<y</script><p class='a'>Ray ID 7", "Blocked Ray ID 7"),
        ("<HEAD><TITLE lang=en>Down</TITLE><STYLE>p{}</STYLE></HEAD>we are <b>down</b>", "Down we are down"),
        ("<p>a < b and c", "a < b and c"),
        (f"<img src='{'x' * 900}'>gone", "gone"),
    ],
)
def test_page_says_its_title_and_what_is_seen_of_it(page: str, words: str) -> None:
    """Of a page in place of an answer a reader learns what a browser would show, in one line."""
    assert words in str(refused_or_uncertain("p", 502, page.encode(), {}))
