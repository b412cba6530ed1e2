"""The paths of calls are answered beside the web framework; who may use them and how is as it is everywhere."""

import pytest

from organism.gateway.routes import COUNTS, FORMATS
from tests.gateway.conftest import Serve, plain_client

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("slash", ["", "/"])
async def test_token_that_may_not_send_makes_no_call(served: Serve, slash: str) -> None:
    """A token for reading is refused on each path of calls, however it is spelled, and nothing is asked."""
    async with served() as gateway:
        made = await gateway.operator.post("/v1/tokens", json={"name": "reader", "scopes": ["read"]})
        async with plain_client(str(gateway.http.base_url), made.json()["secret"]) as reader:
            for path in FORMATS:
                answer = await reader.post(path + slash, json={"model": "main"})
                assert answer.status_code == 403, (path, answer.text)
                assert "send" in answer.text, path
                assert "error" in answer.json(), path
        assert not gateway.provider.requests


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods_are_no_calls(served: Serve, method: str) -> None:
    """Only POST makes a call; a program reads why in the words of its format."""
    async with served() as gateway:
        for path in FORMATS:
            answer = await gateway.http.request(method, path)
            assert (answer.status_code, set(answer.json()["error"]) >= {"type", "message"}) == (405, True), answer.text
        assert not gateway.provider.requests


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_other_methods_are_told_to_strangers_too_and_are_no_bad_token(served: Serve, method: str) -> None:
    """What is wrong is the method, key or not; it is said which there is, and nobody is held up for it."""
    paths = {**dict.fromkeys((*FORMATS, *COUNTS, "/v1/conversations"), "POST"), "/v1/models/main": "GET"}
    async with served() as gateway, plain_client(str(gateway.http.base_url), "no key of ours") as stranger:
        for path, there_is in paths.items():
            if method != there_is:
                answer = await stranger.request(method, path)
                assert (answer.status_code, answer.headers["allow"]) == (405, there_is), (path, answer.text)
                assert {"type", "message"} <= set(answer.json()["error"]), path
        assert (await stranger.post("/v1/messages", json={})).status_code == 401


async def test_who_has_no_key_or_one_that_is_gone_is_told_not_to_ask_again(served: Serve) -> None:
    """Claude Code asks with a revoked key for minutes unless told so; who guesses at others has to wait."""
    async with served() as gateway, plain_client(str(gateway.http.base_url), "a key that is gone") as stranger:
        for status, key in ((401, "gone"), (401, "gone"), *((401, f"guess {n}") for n in range(4)), (429, "one more")):
            headers = {"authorization": f"Bearer {key}"}
            answer = await stranger.post("/v1/messages", json={"model": "main"}, headers=headers)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "false")


NOTHING = {
    "/v1/messages/batches": "Anthropic's",
    "/v1/messages/nope": "Anthropic's",
    "/messages/nope": "Anthropic's",
    "/v1/chat/nope": "OpenAI's",
    "/v1/nope": "OpenAI's",
    "/nope": "OpenAI's",
}


@pytest.mark.parametrize("key", ["", "Bearer nobody", None], ids=["none", "wrong", "good"])
async def test_path_of_nothing_is_404_in_the_format_s_words(served: Serve, key: str | None) -> None:
    """Whoever asks for what is not served is told so, and never that the key is wrong."""
    async with served() as gateway:
        headers = {} if key is None else {"authorization": key}
        for path, words in NOTHING.items():
            answer = await gateway.http.post(path, json={}, headers=headers)
            said = "Anthropic's" if answer.json().get("type") == "error" else "OpenAI's"
            assert (answer.status_code, said) == (404, words), answer.text
            assert path in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("offered", "asked", "served_as"),
    [
        ((), "gpt-4o", "gpt-4o"),
        ((), "main", "m"),
        (("gpt-*",), "gpt-4o", "gpt-4o"),
        (("gpt-4o",), "gpt-4o", "gpt-4o"),
        (("main",), "gpt-4o", None),
        ((), "other-4", None),
        ((), "gpt-*", None),
    ],
)
async def test_pattern_serves_every_name_that_begins_so(
    served: Serve, offered: tuple[str, ...], asked: str, served_as: str | None
) -> None:
    """A name that is not written down goes by its pattern, to the vendor by the same name; others are 404."""
    models = {"main": "double/m", "gpt-*": "double/gpt-*"}
    async with served(models=models, gateway={"models": offered}) as gateway:
        body = {"model": asked, "messages": [{"role": "user", "content": "hi"}]}
        answer = await gateway.http.post("/v1/chat/completions", json=body)
        assert answer.status_code == (404 if served_as is None else 200), answer.text
        assert [request.body["model"] for request in gateway.provider.requests] == [served_as][: bool(served_as)]
        assert (await gateway.http.get(f"/v1/models/{asked}")).status_code == answer.status_code
