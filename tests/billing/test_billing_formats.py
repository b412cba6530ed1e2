"""Billing systems as they answer: what they have is delivered, what they never take is set aside, nothing blocks."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

import anyio
import pytest

from organism import Context, Organism, Text, agent
from organism.billing.billing_formats import lago, openmeter, stripe
from organism.billing.delivery import EventSource, Export, UndeliveredError, exporting
from organism.billing.verdicts import Later, Refused, SinkAnswer, Taken, verdict
from organism.billing.webhook import BodyFormat, Webhook, as_cloudevents
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedProvider, run
from organism.usage.cloudevents import CloudEvent, envelope

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Reply = tuple[int, dict[str, str], bytes]


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


def _events(count: int) -> list[CloudEvent]:
    found: list[Any] = []

    async def scenario() -> None:
        providers = {"scripted": ScriptedProvider(["one two three"])}
        async with Organism([writer], models={"main": "scripted/m"}, providers=providers) as organism:
            for number in range(count):
                await organism.run("go", labels={"tenant": f"cus_{number}"})
            found.extend(await organism.events_after(""))

    run(scenario)
    return [envelope(event, "urn:organism:x:in_1") for event in found if type(event).__name__ == "UsageEvent"]


EVENTS = _events(8)


class Receiver:
    """A billing system: keeps what is posted, and answers as it is told to."""

    def __init__(self, answer: Callable[[str], Reply]) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, said = answer(body.decode())
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/events"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiving() -> Iterator[Callable[[Callable[[str], Reply]], Receiver]]:
    """Start receivers; all of them end with the test."""
    started: list[Receiver] = []

    def start(answer: Callable[[str], Reply]) -> Receiver:
        started.append(Receiver(answer))
        return started[-1]

    yield start
    for receiver in started:
        receiver.close()


def said(status: int, document: object = None, **headers: str) -> Reply:
    return status, {k.replace("_", "-").lower(): v for k, v in headers.items()}, json.dumps(document).encode()


STRIPE_HAS_IT = {
    "error": {"message": "An event already exists with identifier x:1:input.", "type": "invalid_request_error"}
}
LAGO_HAS_IT = {
    "status": 422,
    "error": "Unprocessable Entity",
    "code": "validation_errors",
    "error_details": {"transaction_id": ["value_already_exist"]},
}


@pytest.mark.parametrize(
    "answer",
    [
        said(200),
        said(204),
        said(400, STRIPE_HAS_IT),
        said(400, {"error": {"code": "duplicate_meter_event", "message": "no"}}),
        said(409, {"type": "about:blank", "title": "Conflict"}),
        said(422, LAGO_HAS_IT),
        said(422, {**LAGO_HAS_IT, "error_details": {"0": {"transaction_id": ["value_already_exist"]}}}),
        said(200, {"events": [{"lago_id": "1"}], "errors": []}),
    ],
)
def test_what_is_there_is_taken(answer: Reply) -> None:
    """Whatever a system says instead of yes when it has an event already, the event counts as delivered."""
    assert verdict(SinkAnswer(*answer), 1, NOW, reads_body=True) == Taken()


@pytest.mark.parametrize(
    ("answer", "after_s"),
    [
        (said(429), None),
        (said(429, Retry_After="7"), 7.0),
        (said(503, Retry_After="Sat, 28 Nov 2026 12:00:30 GMT"), 30.0),
        (said(503, Retry_After="999999"), 3600.0),
        (said(503, Retry_After="soon"), None),
        (said(500, STRIPE_HAS_IT), None),
        (said(400, stripe_should_retry="true"), None),
        (said(401, {"error": {"message": "Invalid API Key"}}), None),
        (said(302, location="https://elsewhere.example"), None),
    ],
)
def test_what_passes_is_waited_for(answer: Reply, after_s: float | None) -> None:
    """A busy, broken or locked system gets the events later, after as long as it asks for; an hour is the most."""
    found = verdict(SinkAnswer(*answer), 1, NOW, reads_body=True)

    assert isinstance(found, Later)
    assert found.after_s == after_s


@pytest.mark.parametrize(
    ("answer", "sure", "words"),
    [
        (said(400, {"error": {"message": "Invalid customer: cus_9", "param": "payload"}}), True, "Invalid customer"),
        (said(413), True, "413"),
        (said(422, {"error_details": {"0": {"code": ["not_found"]}}}), True, "not_found"),
        (said(200, {"errors": [{"index": 0, "message": "no such meter"}]}), True, "no such meter"),
        (said(404, {"detail": "no such customer"}), False, "no such customer"),
        ((400, {}, b"<html><body>Bad Request</body></html>"), True, "Bad Request"),
    ],
)
def test_what_never_passes_is_refused_in_the_systems_words(answer: Reply, sure: bool, words: str) -> None:
    """An event that is wrong is told from a moment that is; the reason is what the system says about it."""
    found = verdict(SinkAnswer(*answer), 1, NOW, reads_body=True)

    assert isinstance(found, Refused)
    assert found.sure == sure
    assert words in found.reason


def test_one_of_several_that_is_there_says_nothing_of_the_others() -> None:
    """A batch is only delivered when all of it is: one known identifier in it does not make the rest known."""
    for answer in (said(409), said(422, {"error_details": {"3": {"transaction_id": ["value_already_exist"]}}})):
        assert isinstance(verdict(SinkAnswer(*answer), 4, NOW, reads_body=True), Refused)


def names(body: str) -> set[str]:
    """Return the customers that a request is about, in whatever format it is."""
    return {event.data.labels["tenant"] for event in EVENTS if f"{event.data.labels['tenant']}" in body}


def refuses(poison: str, reply: Reply, kept: set[str]) -> Callable[[str], Reply]:
    """Answer as systems do that take a request whole or not at all."""

    def answer(body: str) -> Reply:
        if poison in names(body):
            return reply
        kept.update(names(body))
        return said(200)

    return answer


@pytest.mark.parametrize("shape", [as_cloudevents, openmeter("tenant"), lago("tenant"), stripe("tenant")])
@pytest.mark.parametrize("reply", [said(400, {"error": "wrong"}), said(422, {"error": "wrong"}), said(413), said(404)])
@pytest.mark.parametrize("place", [0, 3, 7])
async def test_poison_costs_itself_only(receiving: Any, shape: BodyFormat, reply: Reply, place: int) -> None:
    """Wherever a wrong event stands, and however it is refused, all others are taken and it is named."""
    kept: set[str] = set()
    receiver = receiving(refuses(f"cus_{place}", reply, kept))
    hook = Webhook(receiver.url, lambda: 0, shape=shape)
    events = EVENTS if place < 7 or reply[0] != 404 else [EVENTS[7], *EVENTS[:7]]

    try:
        rejected = await hook.deliver(events)
    except UndeliveredError:  # a batch that may have been refused for the address's sake is offered once more as it is
        rejected = await hook.deliver(events)

    assert kept == {f"cus_{number}" for number in range(8)} - {f"cus_{place}"}
    assert [one.event.data.labels["tenant"] for one in rejected] == [f"cus_{place}"]
    await hook.aclose()


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
async def test_address_that_is_wrong_sets_nothing_aside(receiving: Any, status: int) -> None:
    """When nothing is taken at all the events wait: it is the address, the credentials or the moment."""
    receiver = receiving(lambda _body: said(status))
    hook = Webhook(receiver.url, lambda: 0, shape=stripe("tenant"))

    with pytest.raises(UndeliveredError) as refused:
        await hook.deliver(EVENTS)

    assert (refused.value.settled, refused.value.rejected) == (0, ())
    assert len(receiver.requests) <= 10
    await hook.aclose()


async def test_what_was_taken_before_a_fault_is_settled(receiving: Any) -> None:
    """A fault in the middle leaves the events before it done, and those set aside among them."""

    def answer(body: str) -> Reply:
        (customer,) = parse_qs(body)["payload[stripe_customer_id]"]
        return said(400, {"error": "no"}) if customer == "cus_1" else said(500 if customer == "cus_3" else 200)

    hook = Webhook(receiving(answer).url, lambda: 0, shape=stripe("tenant"))

    with pytest.raises(UndeliveredError) as refused:
        await hook.deliver(EVENTS)

    assert refused.value.settled == 3
    assert [one.place for one in refused.value.rejected] == [1]
    await hook.aclose()


async def test_partly_taken_batch_is_offered_again_one_by_one(receiving: Any) -> None:
    """A 200 that tells of errors costs only the events that they are about; what was taken is known by its id."""
    kept: set[str] = set()

    def answer(body: str) -> Reply:
        there = names(body)
        kept.update(there - {"cus_5"})
        return said(200, {"errors": [{"message": "unknown subject"}]} if "cus_5" in there else {})

    hook = Webhook(receiving(answer).url, lambda: 0, shape=openmeter("tenant"))

    rejected = await hook.deliver(EVENTS)

    assert [one.event.data.labels["tenant"] for one in rejected] == ["cus_5"]
    assert len(kept) == 7
    await hook.aclose()


async def test_answer_that_never_ends_and_repeats_the_address_is_cut(receiving: Any) -> None:
    """What is kept of an answer is short and holds nothing of the address or the token."""
    receiver = receiving(lambda _body: (400, {}, b"POST /v1/events?key=geheim with t0ken-t0ken " + b"x" * 10_000_000))
    hook = Webhook(f"{receiver.url}?key=geheim", lambda: 0, token="t0ken-t0ken")

    (rejected,) = await hook.deliver(EVENTS[:1])

    assert len(rejected.reason) < 400
    assert "geheim" not in rejected.reason
    assert "t0ken" not in rejected.reason
    await hook.aclose()


class Picky:
    """A sink that never takes one event until it is told to, and asks for time once."""

    def __init__(self, poison: int) -> None:
        self.poison: int | None = poison
        self.taken: list[str] = []
        self.asked = 0

    async def deliver(self, events: list[CloudEvent]) -> list[Any]:
        from organism.billing.delivery import Rejected

        self.asked += 1
        if self.asked == 1:
            raise UndeliveredError("busy", after_s=100)
        wrong = [Rejected(event, "never", n) for n, event in enumerate(events) if int(event.id) == self.poison]
        self.taken += [event.id for event in events if int(event.id) != self.poison]
        return wrong

    async def aclose(self) -> None:
        """Hold nothing."""


def test_set_aside_event_outlives_the_process_and_is_offered_again_on_order() -> None:
    """It is listed with the reason in this process and the next; a retry delivers it and takes it off the list."""
    journal = MemoryJournal()
    sink = Picky(poison=2)

    async def life(*, retry: bool) -> None:
        organism = Organism(
            [writer],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(["one"])},
            journal=journal,
        )
        async with organism:
            control = organism.control
            origin = EventSource(organism.journal, organism.usage, control.cursors, lambda: control.source)
            async with exporting([Export(name="bill", sink=sink)], origin):  # type: ignore[arg-type]
                if retry:
                    assert [aside.reason for aside in control.cursors.set_aside()] == ["never"]
                    sink.poison = None
                    assert [int(aside.event_id) for aside in control.cursors.retry("bill")] == [2]
                    await anyio.sleep(1)
                    assert control.cursors.set_aside() == ()
                    return
                await organism.run("go")
                await anyio.sleep(50)
                assert sink.taken == []  # it asked for 100 s
                await anyio.sleep(60)
                assert control.status().set_aside == 1

    run(lambda: life(retry=False))
    before = list(sink.taken)
    run(lambda: life(retry=True))

    assert len(before) == 3
    assert 2 not in map(int, before)
    assert 2 in map(int, sink.taken)
