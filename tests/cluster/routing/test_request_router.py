"""A node answers for the whole cluster with what it has got, and names what is missing."""

import msgspec
import pytest

from organism.amounts import Amounts, Limits
from organism.api.auth_middleware import ASGIReceive, ASGIScope, ASGISend
from organism.api.dependencies import SERVED
from organism.cluster.routing.forwarded import Signatures
from organism.cluster.routing.forwarding import Forwarding
from organism.cluster.routing.request_router import RequestRouter
from organism.control.views import AccountState, ThreadPage
from organism.testing.virtual_time import run
from tests.cluster.routing.conftest import Client, KnownCluster, parts_of, row

ANSWERS = {
    "/v1/threads": lambda number: ThreadPage((), total=number + 1),
    "/v1/budgets": lambda number: [AccountState(f"agent:a{number}", Limits(), Amounts(), Amounts())],
}
AWAY = ["partition 2 (node b)", "partition 3 (no node)"]


async def answers(scope: ASGIScope, receive: ASGIReceive, send: ASGISend) -> None:
    """Answer as the partition that is asked does."""
    await receive()
    made = ANSWERS.get(scope["path"], ANSWERS["/v1/threads"])
    body = msgspec.json.encode(made(scope[SERVED]))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def asked(path: str, query: str = "", *, away: bool, method: str = "GET") -> Client:
    """Ask a node that has two partitions, and let those of others be away, or be none."""
    client = Client()

    async def ask() -> None:
        here = row("a")
        node = KnownCluster([here, here, row("b", live=False), None] if away else [here, here], here=(0, 1))
        local = parts_of(node)
        forwarding = Forwarding(node, local, Signatures(b"key", lambda: 0), lambda _scope: answers)
        router = RequestRouter(node, local, forwarding, None, None)
        request = client.asks(answers, path, query, method)

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        await router.carry(answers, dict(request.scope), receive, client.send)

    run(ask)
    return client


@pytest.mark.parametrize("path", ANSWERS)
def test_parts_that_do_not_answer_are_named(path: str) -> None:
    """After a moment the others are answered for, with the names of those that are away."""
    client = asked(path, away=True)
    assert (client.status, client.headers["organism-unanswered"]) == (200, ", ".join(AWAY))
    found = msgspec.json.decode(client.body)
    if path == "/v1/threads":
        assert (found["total"], found["unanswered"]) == (3, AWAY)
    else:
        assert [each["account"] for each in found] == ["agent:a0", "agent:a1"]


@pytest.mark.parametrize("path", ANSWERS)
def test_whole_answer_names_nobody(path: str) -> None:
    """Where all have answered, there is no header that says otherwise."""
    client = asked(path, away=False)
    assert (client.status, "organism-unanswered" in client.headers) == (200, False)


def test_order_to_parts_that_are_away_is_refused() -> None:
    """An order that not all have carried out is no success: it names who has not, and when to come again."""
    client = asked("/v1/threads", away=True, method="PUT")
    assert (client.status, client.headers["retry-after"]) == (503, "1")
    assert all(name in client.body.decode() for name in AWAY)


def test_page_of_the_whole_has_a_link_to_the_next() -> None:
    """A list that was cut says in its ``Link`` header where it goes on, and one that was not has none."""
    client = asked("/v1/budgets", "limit=1", away=False)
    assert client.headers["link"] == '</v1/budgets?search=&limit=1&cursor=agent%3Aa0>; rel="next"'
    assert [each["account"] for each in msgspec.json.decode(client.body)] == ["agent:a0"]
    assert "link" not in asked("/v1/budgets", "limit=3", away=False).headers


@pytest.mark.parametrize("path", ["/v1/threads", "/v1/threads/x"])
@pytest.mark.parametrize(("size", "status"), [(2_000, 200), (8_000, 200), (13_000, 431)])
def test_request_that_could_not_be_passed_on_is_refused_by_every_node(path: str, size: int, status: int) -> None:
    """What fits a gate may not fit another's once it is signed: so it is refused at once, and nobody wonders."""
    client = asked(path, "search=" + "x" * size, away=False)
    assert client.status == status
    if status == 431:
        assert b"8,000 bytes" in client.body
