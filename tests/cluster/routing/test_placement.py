"""Where a request belongs is told by the request alone, the same at every node."""

import pytest

from organism.cluster.routing.placement import Destination, PlacedRequest, place_of
from organism.gateway.conversation_routes import CONVERSATIONS
from organism.gateway.routes import COUNTS, FORMATS, GOOGLE
from organism.ids import Layout, PartitionIds, SequentialIds

PARTITIONS = 16
NAMED = Destination("at", Layout(PARTITIONS).partition_of("mine"))


class Digits:
    """Ids as a running daemon makes them, always the same one."""

    def next(self, prefix: str) -> str:
        return f"{prefix}_{'ab' * 10}"


MADE = PartitionIds(5, Digits()).next("th")
RESPONSE = PartitionIds(5, Digits()).next("resp")


def placed(method: str, target: str, body: bytes = b"", **known: str) -> Destination:
    path, _, query = target.partition("?")
    return place_of(PlacedRequest(method=method, path=path, query=query, body=body, **known), Layout(PARTITIONS))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/threads/{}"),
        ("GET", "/v1/threads/{}/timeline"),
        ("POST", "/v1/threads/{}/messages"),
        ("POST", "/v1/threads/{}/replay"),
        ("PUT", "/v1/threads/{}/limits"),
        ("POST", "/v1/threads/{}/pause"),
        ("DELETE", "/v1/threads/{}"),
        ("GET", "/v1/budgets/{}"),
        ("GET", "/v1/budgets/thread:{}"),
        ("PUT", "/v1/budgets/thread:{}/limits"),
        ("POST", "/v1/budgets/{}/move"),
        ("GET", "/v1/budgets/{}/story"),
        ("GET", "/v1/events?thread={}"),
        ("GET", "/v1/events/page?thread={}&limit=3"),
        ("POST", "/v1/dead-letters/{}/retry"),
        ("DELETE", "/v1/dead-letters/{}"),
        ("GET", "/v1/responses/{}"),
        ("GET", "/v1/responses/{}/input_items"),
        ("POST", "/v1/conversations/{}/items"),
    ],
)
def test_what_is_about_one_thread_goes_to_its_partition(method: str, path: str) -> None:
    """A request that names a thread, a message or a kept answer goes where that is, by its id or by its name."""
    assert placed(method, path.format(MADE)) == Destination("at", 5)
    assert placed(method, path.format("mine")) == NAMED


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/v1/threads", "all"),
        ("GET", "/v1/status", "all"),
        ("GET", "/v1/agents", "all"),
        ("POST", "/v1/agents/a/pause", "all"),
        ("GET", "/v1/approvals", "all"),
        ("POST", "/v1/approvals/msg_1.0.ab", "all"),
        ("GET", "/v1/budgets", "all"),
        ("GET", "/v1/budgets/agent:a", "all"),
        ("GET", "/v1/dead-letters", "all"),
        ("GET", "/v1/usage", "all"),
        ("GET", "/v1/usage/series", "all"),
        ("GET", "/v1/usage/report", "here"),
        ("GET", "/v1/usage/report?thread=t", "at"),
        ("POST", "/v1/usage/report", "here"),
        ("POST", "/v1/usage/report?thread=t", "at"),
        ("GET", "/v1/usage?by=model", "all"),
        ("GET", "/v1/usage?by=model&since=7d", "here"),
        ("GET", "/v1/usage?until=2026-11-01", "here"),
        ("GET", "/v1/freeze", "all"),
        ("POST", "/v1/freeze", "all"),
        ("DELETE", "/v1/freeze", "all"),
        ("PUT", "/v1/mode", "all"),
        ("GET", "/v1/exporters/set-aside", "all"),
        ("GET", "/metrics", "all"),
        ("GET", "/answer/msg_1.0.ab/allow", "all"),
        ("POST", "/v1/drain", "own"),
        ("POST", "/v1/stop", "own"),
        ("GET", "/v1/models", "any"),
        ("GET", "/v1/models/main", "any"),
        ("POST", "/v1/threads", "any"),
        ("GET", "/v1/events", "here"),
        ("GET", "/v1/events/page", "here"),
        ("GET", "/healthz", "here"),
        ("GET", "/", "here"),
        ("GET", "/dashboard/main.js", "here"),
        ("GET", "/answer/style.css", "here"),
        ("GET", "/v1/tokens", "here"),
        ("POST", "/v1/sessions", "here"),
        ("GET", "/v1/schema/openapi.json", "here"),
        ("POST", "/v1/reload", "here"),
        ("POST", "/v1/tokens", "any"),
        ("PATCH", "/v1/tokens/ci", "any"),
        ("DELETE", "/v1/tokens/ci", "any"),
        ("PUT", "/v1/budgets/agent:a/limits", "at"),
        ("GET", "/v1/ledger/entries", "refused"),
        ("GET", "/v1/ledger/entries?partition=16", "refused"),
        ("GET", "/v1/ledger/entries?partition=-1", "refused"),
    ],
)
def test_each_route_has_a_place(method: str, path: str, kind: str) -> None:
    """What is about all of the cluster is asked of all, what is about none is answered at once, the rest is refused."""
    found = placed(method, path)
    assert (found.kind, bool(found.reason)) == (kind, kind == "refused")


def test_new_thread_is_where_its_name_or_its_receipt_is() -> None:
    """A name decides, however it is written; else a key does, so that sending it again finds the receipt."""
    assert placed("POST", "/v1/threads", b'{"text": "x", "thread_id": "mine"}', key="k") == NAMED
    assert placed("POST", "/v1/threads", rb'{"text": "x", "thread\u005fid": "mine"}') == NAMED
    by_key = placed("POST", "/v1/threads", b'{"text": "x"}', key="k", caller="c")
    assert by_key == placed("POST", "/v1/threads", b'{"text": "x"}', key="k", caller="c")
    assert by_key.kind == "at"
    callers = {placed("POST", "/v1/threads", key="k", caller=f"c{each}").partition for each in range(64)}
    assert len(callers) > 8
    assert placed("POST", "/v1/threads", b"{not json thread_id").kind == "any"


@pytest.mark.parametrize("path", [*FORMATS, *COUNTS, f"{GOOGLE}/m:generateContent", f"{CONVERSATIONS}"])
def test_call_goes_where_its_thread_pays(path: str) -> None:
    """A call at any path that the gateway serves is made where the thread is that pays for it."""
    assert placed("POST", path, b"{}", payer="mine") == NAMED


def test_call_that_goes_on_from_elsewhere_is_refused() -> None:
    """An answer that is kept elsewhere than the call's thread is named, with what to do; else it goes through."""
    body = b'{"previous_response_id": "%b"}' % RESPONSE.encode()
    assert placed("POST", "/v1/responses", body, payer=MADE) == Destination("at", 5)
    refused = placed("POST", "/v1/responses", body, payer="mine")
    assert (refused.kind, "send the whole conversation" in refused.reason) == ("refused", True)
    conversation = b'{"conversation": {"id": "%b"}}' % RESPONSE.encode()
    assert placed("POST", "/v1/responses", conversation, payer="mine").kind == "refused"


def test_ledger_of_one_partition_is_asked_for_by_its_number() -> None:
    """Each partition has a ledger; its route is asked without the number."""
    assert placed("GET", "/v1/ledger/entries?after=3&partition=7") == Destination("at", 7, "after=3")
    assert SequentialIds().next("x") == "x_1"


LABELLED = Layout(16, {"gpu": (16, 17), "eu": (18,)})
AGENTS = {None: "", "writes": "", "paints": "gpu", "stores": "eu", "new": "unmade"}


def opened(body: bytes, key: str = "") -> Destination:
    request = PlacedRequest(method="POST", path="/v1/threads", key=key, body=body, label_of=lambda name: AGENTS[name])
    return place_of(request, LABELLED)


def test_a_new_thread_goes_where_its_agent_works() -> None:
    """By the agent it is for, or by the entry; one with a key always to the same partition of its label."""
    assert opened(b'{"text": "x", "to": "paints"}') == Destination("any", label="gpu")
    assert opened(b'{"text": "x"}') == opened(b'{"to": null}') == opened(b'{"to": "writes"}') == Destination("any")
    assert opened(b'{"to": "stores"}', "k") == Destination("at", 18)
    for key in map(str, range(20)):
        assert opened(b'{"to": "paints"}', key) == opened(b'{"to": "paints", "text": "x"}', key)
        assert opened(b'{"to": "paints"}', key).partition in (16, 17)
        # Without agents of labels, a key is where it was before there were any.
        assert opened(b"{}", key) == placed("POST", "/v1/threads", b"{}", key=key)
        assert opened(b'{"to": "new"}', key) == opened(b"{}", key)


def test_a_name_with_a_label_is_in_its_partitions() -> None:
    """All other names, and all ids, stay where they are when a label gets partitions."""

    def at(name: str) -> int:
        return LABELLED.partition_of(name)

    assert at("eu--mine") == 18
    assert {at(f"gpu--{number}") for number in range(20)} == {16, 17}
    for name in ("gpu-mine", "gpu", "--gpu", "other--mine", MADE, "th_ff" + "ab" * 10):
        assert at(name) == Layout(16).partition_of(name)
    assert at(PartitionIds(17, Digits()).next("th")) == 17
    assert [LABELLED.label_of(number) for number in (0, 15, 16, 17, 18, 19)] == ["", "", "gpu", "gpu", "eu", ""]


def test_ledgers_of_labels_are_asked_for_by_number() -> None:
    """They are counted behind those of any node."""
    request = PlacedRequest(method="GET", path="/v1/ledger/entries", query="partition=18")
    assert place_of(request, LABELLED).partition == 18
    refused = place_of(PlacedRequest(method="GET", path="/v1/ledger/entries", query="partition=19"), LABELLED)
    assert refused.reason.endswith("partition=0 to 18")
