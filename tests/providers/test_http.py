"""The way to a provider's server: compression, kept connections, proxies, certificates, and what is never sent."""

import gzip
from collections.abc import Callable

import anyio
import pytest

from organism.amounts import TokenUsage
from organism.errors import ProviderError, RejectedError, UncertainError
from organism.llm.answers import Completion
from organism.llm.provider import Provider
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.providers.anthropic import AnthropicProvider
from organism.providers.http import ConnectionSettings
from organism.providers.http_direct import DirectTransport
from organism.providers.openai import OpenAIProvider
from organism.testing import HTTPStep, ScriptedHTTPProvider

pytestmark = pytest.mark.anyio

REQUEST = CompletionRequest(model="m", messages=(ChatMessage("user", "say three words"),), max_output_tokens=9)
ERROR = '{"error": {"message": "temperature is out of range"}}'
Connect = Callable[[str], Provider]


@pytest.fixture(params=["chat", "responses", "messages"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Make an adapter for a server's address."""
    if request.param != "messages":
        return lambda url: OpenAIProvider("p", "k", f"{url}/v1", api=request.param)
    return lambda url: AnthropicProvider("p", "k", url)


async def ask(adapter: Provider, *, streamed: bool = False) -> Completion | ProviderError:
    try:
        with anyio.fail_after(60):
            return await adapter.complete(REQUEST, (lambda _piece: None) if streamed else None)
    except ProviderError as error:
        return error


# -- compression ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("way", ["gzip", "deflate"])
async def test_answer_is_read_although_it_is_compressed(connect: Connect, way: str, streamed: bool) -> None:
    """A server, or what stands before it, that compresses whatever it is asked for is read all the same."""
    async with ScriptedHTTPProvider([HTTPStep(text="one two", compress=way)]) as server:  # type: ignore[arg-type]
        adapter = connect(server.url)
        answer = await ask(adapter, streamed=streamed)
        await adapter.aclose()

    assert isinstance(answer, Completion), answer
    assert answer.text == "one two"
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ["Identity", "none", "GZIP", "x-gzip", "gzip, identity"])
async def test_encodings_are_known_by_all_their_names(connect: Connect, name: str) -> None:
    """Names of encodings know no case, and none is one too."""
    body = gzip.compress(ERROR.encode()) if "gzip" in name.lower() else ERROR
    step = HTTPStep(status=400, body=body, headers={"content-encoding": name})
    async with ScriptedHTTPProvider([step]) as server:
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert "temperature is out of range" in str(error)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["gzip", "deflate", "br", "zstd", "x-unheard-of"])
async def test_answer_is_read_although_it_is_not_compressed(connect: Connect, name: str, streamed: bool) -> None:
    """A relay that decompresses what it passes on, and leaves the header, loses nobody an answer that is paid for."""
    async with ScriptedHTTPProvider([HTTPStep(text="one two", headers={"content-encoding": name})]) as server:
        adapter = connect(server.url)
        answer = await ask(adapter, streamed=streamed)
        await adapter.aclose()

    assert isinstance(answer, Completion), answer
    assert answer.text == "one two"


async def test_answer_in_an_unknown_compression_says_so(connect: Connect) -> None:
    """What cannot be read may have been billed; why it cannot stands in the error."""
    step = HTTPStep(body=b"\x07\x93unreadable", headers={"content-encoding": "x-unheard-of"})
    async with ScriptedHTTPProvider([step]) as server:
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, UncertainError)
    assert "compressed with 'x-unheard-of'" in str(error)


@pytest.mark.parametrize("way", ["gzip", "deflate"])
async def test_refusal_is_read_although_it_is_compressed(connect: Connect, way: str) -> None:
    """The provider's words reach the operator out of a compressed error too."""
    async with ScriptedHTTPProvider([HTTPStep(status=400, body=ERROR, compress=way)]) as server:  # type: ignore[arg-type]
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, RejectedError)
    assert "temperature is out of range" in str(error)


async def test_little_that_swells_to_much_is_cut_off(connect: Connect) -> None:
    """What counts is what an answer has become, not what came over the line."""
    async with ScriptedHTTPProvider([HTTPStep(body=b" " * (40 * 1024 * 1024), compress="gzip")]) as server:
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, UncertainError)
    assert "16,777,216 bytes" in str(error)


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "rot13"])
async def test_encoding_that_cannot_be_read_is_named(connect: Connect, name: str) -> None:
    """An answer that is there but cannot be read may be billed, and the operator is told why it is lost."""
    async with ScriptedHTTPProvider([HTTPStep(body=b"\x00\x01", headers={"content-encoding": name})]) as server:
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, UncertainError)


# -- connections that are kept ----------------------------------------------------------------------------------------

KEPT = HTTPStep(text="one", keep=True)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_connection_is_used_again(connect: Connect, streamed: bool) -> None:
    """Where the server keeps a connection, the next call saves the handshakes."""
    async with ScriptedHTTPProvider([KEPT]) as server:
        adapter = connect(server.url)
        answers = [await ask(adapter, streamed=streamed) for _ in range(3)]
        await adapter.aclose()

    assert all(isinstance(answer, Completion) for answer in answers)
    assert server.connections == 1


async def test_body_that_nobody_has_read_does_not_stand_before_the_next() -> None:
    """An answer whose body was left unread leaves nothing on its connection for the one that follows."""
    async with ScriptedHTTPProvider([KEPT, KEPT]) as server:
        transport = DirectTransport(server.url, 5.0, None)
        bodies = []
        for reads in (False, True):
            response = await transport.post(f"{server.url}/chat/completions", {}, b"{}")
            if reads:
                bodies = [piece async for piece in response.pieces()]
            await response.aclose()
        await transport.aclose()
    assert b"".join(bodies).count(b'"one"') == 1


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_kept_connection_that_was_already_closed_is_no_failure(connect: Connect, fault: str) -> None:
    """A request that meets a connection just closed as idle is sent once more on a new one: nobody looked at it."""
    steps = [KEPT, HTTPStep(fault=fault, billed=False), HTTPStep(text="two")]  # type: ignore[arg-type]
    async with ScriptedHTTPProvider(steps) as server:
        adapter = connect(server.url)
        await ask(adapter)
        answer = await ask(adapter)
        await adapter.aclose()

    assert isinstance(answer, Completion), answer
    assert answer.text == "two"
    assert (len(server.requests), server.connections) == (3, 2)


@pytest.mark.parametrize("fault", ["cut", "reset"])
async def test_new_connection_that_ends_without_a_word_is_uncertain(connect: Connect, fault: str) -> None:
    """A server that took a request on a connection of its own may have worked on it, and is not asked twice."""
    async with ScriptedHTTPProvider([HTTPStep(fault=fault)]) as server:  # type: ignore[arg-type]
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, UncertainError)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "lost",
    [
        HTTPStep(text="a b", fault="cut", fault_after=1),
        HTTPStep(text="a b", fault="reset", fault_after=1),
        HTTPStep(fault="cut", delay_s=2.5),
    ],
    ids=["cut in the middle", "reset in the middle", "ends late"],
)
async def test_kept_connection_that_ends_after_work_is_uncertain(connect: Connect, lost: HTTPStep) -> None:
    """Some of an answer, or time enough to work: what is lost then is charged, and not asked for again."""
    async with ScriptedHTTPProvider([KEPT, lost, HTTPStep(text="never")]) as server:
        adapter = connect(server.url)
        await ask(adapter)
        error = await ask(adapter, streamed=True)
        await adapter.aclose()

    assert isinstance(error, UncertainError)
    assert len(server.requests) == 2


# -- answers of other kinds -------------------------------------------------------------------------------------------


ANSWER = (
    b'{"id": "c", "model": "m", "choices": [{"message": {"role": "assistant", "content": "fine"},'
    b' "finish_reason": "stop"}],'
    b' "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}'
)
LENGTH = b"content-length: %d\r\n" % len(ANSWER)
CHUNKED = b"%x;ext=1\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (len(ANSWER), ANSWER)
ODD = {
    "no reason": b"HTTP/1.1 200\r\n" + LENGTH + b"\r\n" + ANSWER,
    "201": b"HTTP/1.1 201 Created\r\n" + LENGTH + b"\r\n" + ANSWER,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + ANSWER,
    "no length": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + ANSWER,
    "lines without returns": b"HTTP/1.1 200 OK\nconnection: close\n\n" + ANSWER,
    "103 first": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + ANSWER,
    "extensions and trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + CHUNKED,
    "length beside chunks": b"HTTP/1.1 200 OK\r\n" + LENGTH + b"transfer-encoding: chunked\r\n\r\n" + CHUNKED,
    "length twice": b"HTTP/1.1 200 OK\r\n" + LENGTH * 2 + b"\r\n" + ANSWER,
    "folded and foreign headers": b"HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\nx-b: \xe9\r\nx-c:\r\n"
    + LENGTH
    + b"\r\n"
    + ANSWER,
    "another type": b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n" + LENGTH + b"\r\n" + ANSWER,
    "more announced than comes": b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + ANSWER,
    "a mark before": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\xef\xbb\xbf" + ANSWER,
    "white space before": b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\n\n   \n" + ANSWER,
}


@pytest.mark.parametrize("raw", ODD.values(), ids=ODD.keys())
async def test_whatever_http_allows_is_read(raw: bytes) -> None:
    """Answers that are odd but right, as proxies and home-made servers write them, are answers."""
    async with ScriptedHTTPProvider([HTTPStep(raw=raw)]) as server:
        adapter = OpenAIProvider("p", "k", f"{server.url}/v1")
        answer = await ask(adapter)
        await adapter.aclose()

    assert isinstance(answer, Completion), answer
    assert (answer.text, answer.usage) == ("fine", TokenUsage(input=3, output=1))


async def test_words_of_a_refusal_that_breaks_off_are_kept() -> None:
    """A status that has come says what it says, however little of its body follows."""
    raw = b'HTTP/1.1 503 X\r\ncontent-length: 9999\r\n\r\n{"error": {"message": "overl'
    async with ScriptedHTTPProvider([HTTPStep(raw=raw)]) as server:
        adapter = OpenAIProvider("p", "k", f"{server.url}/v1")
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, RejectedError)
    assert (error.status, error.meaning, "overl" in str(error)) == (503, "overloaded", True)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_is_not_followed(connect: Connect, status: int) -> None:
    """A request with a key in it goes where the configuration says, and nowhere else."""
    step = HTTPStep(status=status, body="", headers={"location": "http://127.0.0.1:9/elsewhere"})
    async with ScriptedHTTPProvider([step]) as server:
        adapter = connect(server.url)
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, RejectedError)
    assert (error.meaning, "base_url" in str(error)) == ("address", True)


async def test_address_that_nobody_knows_is_named(connect: Connect) -> None:
    """Who mistyped an address sees in the error what was asked for, and which key of the file to look at."""
    async with ScriptedHTTPProvider([HTTPStep(status=404, body="<html>Not Found</html>")]) as server:
        adapter = connect(f"{server.url}/wrong")
        error = await ask(adapter)
        await adapter.aclose()

    assert isinstance(error, RejectedError)
    assert f"POST {server.url}/wrong/v1/" in str(error)
    assert "base_url" in str(error)


async def test_headers_of_the_configuration_are_sent_and_win() -> None:
    """A gateway's own key, or an account's id, stands in the configuration and goes out with each request."""
    own = ConnectionSettings(headers={"OpenAI-Organization": "org-1", "Authorization": "Basic abc"})
    async with ScriptedHTTPProvider() as server:
        adapter = OpenAIProvider("p", "k", f"{server.url}/v1", connection=own)
        await ask(adapter)
        await adapter.aclose()

    headers = server.requests[0].headers
    assert (headers["openai-organization"], headers["authorization"]) == ("org-1", "Basic abc")


@pytest.mark.parametrize(
    ("vendor", "path", "key", "header"),
    [
        ("azure", "/openai/v1", "k", "api-key"),
        ("azure", "/openai/v1", "eyJ0.eyJ1.x", "authorization"),
        (None, "/openai/deployments/d?api-version=1", "k", "api-key"),
        (None, "/v1", "k", "authorization"),
        ("groq", "/openai/v1", "k", "authorization"),
    ],
)
async def test_key_goes_in_the_header_its_server_reads(vendor: str | None, path: str, key: str, header: str) -> None:
    """Azure reads keys in a header of its own and tokens as a bearer; everybody else both as a bearer."""
    async with ScriptedHTTPProvider() as server:
        adapter = OpenAIProvider("p", key, f"{server.url}{path}", vendor=vendor)
        await ask(adapter)
        await adapter.aclose()

    assert key in server.requests[0].headers[header]
    assert len({"api-key", "authorization"} & server.requests[0].headers.keys()) == 1


# -- proxies ----------------------------------------------------------------------------------------------------------


async def test_proxy_is_asked_for_the_whole_address() -> None:
    """Where a proxy is given, nothing goes to the server directly."""
    async with ScriptedHTTPProvider([HTTPStep(text="through")]) as proxy:
        adapter = OpenAIProvider("p", "k", "http://127.0.0.9:9/v1", connection=ConnectionSettings(proxy=proxy.url))
        answer = await ask(adapter)
        await adapter.aclose()

    assert isinstance(answer, Completion)
    assert proxy.requests[0].path == "http://127.0.0.9:9/v1/chat/completions"


async def test_proxy_that_is_not_there_has_cost_nothing() -> None:
    """Nothing is charged for a request that has not got as far as its server."""
    async with ScriptedHTTPProvider() as gone:
        url = gone.url
    adapter = OpenAIProvider("p", "k", "http://127.0.0.9:9/v1", connection=ConnectionSettings(proxy=url))
    error = await ask(adapter)
    await adapter.aclose()

    assert isinstance(error, RejectedError)
    assert error.again
