"""Exporters: every event at least once, in order, however long the other side is away, and signed."""

import asyncio
import base64
import hmac
import json
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar
from urllib.parse import parse_qs

import anyio
import pytest

from organism import Context, Organism, Text, agent
from organism.billing.billing_formats import lago, openmeter, stripe
from organism.billing.delivery import EventSource, Export, UndeliveredError, exporting
from organism.billing.jsonl import JsonLines
from organism.billing.webhook import BodyFormat, Webhook, as_cloudevents
from organism.stores.memory import MemoryJournal
from organism.testing import ScriptedProvider, run
from organism.usage.cloudevents import CloudEvent, envelope


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    return Text((await ctx.llm.complete(message.text, max_output_tokens=16)).text)


def make(**options: Any) -> Organism:
    providers = {"scripted": ScriptedProvider(["one two three"])}
    return Organism([writer], models={"main": "scripted/m"}, providers=providers, **options)


def origin_of(organism: Organism) -> EventSource:
    control = organism.control
    return EventSource(organism.journal, organism.usage, control.cursors, lambda: control.source)


class Flaky:
    """A sink that refuses so often before it takes anything."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: list[CloudEvent] = []
        self.closed = False

    async def deliver(self, events: Sequence[CloudEvent]) -> None:
        """Take events, or not."""
        if self.refusals:
            self.refusals -= 1
            raise UndeliveredError("not now")
        self.taken += events

    async def aclose(self) -> None:
        """Note that it is closed."""
        self.closed = True


def test_every_event_arrives_in_order_after_refusals() -> None:
    """A sink that is away gets everything when it is back, nothing twice."""
    sink = Flaky(refusals=3)

    async def scenario() -> None:
        async with make() as organism, exporting([Export(name="x", sink=sink)], origin_of(organism)):
            for _ in range(3):
                await organism.run("go", labels={"tenant": "a"})
            await anyio.sleep(100)
            assert [event.id for event in sink.taken] == [event.id for event in await organism.events_after("")]

    run(scenario)

    assert sink.closed


class Broken(Flaky):
    """A sink that is not made as sinks are."""

    def __init__(self, failure: BaseException | None, end: BaseException | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.end = end

    async def deliver(self, events: Sequence[CloudEvent]) -> None:
        """Fail three times, or for ever."""
        if self.failure is None:
            while True:
                with suppress(asyncio.CancelledError):
                    await anyio.sleep(1000)
        if self.refusals < 3:
            self.refusals += 1
            raise self.failure
        self.taken += events

    async def aclose(self) -> None:
        """End as badly as it began."""
        if self.end is not None:
            raise self.end


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("no"),
        asyncio.CancelledError(),
        SystemExit(3),
        KeyboardInterrupt(),
        ExceptionGroup("two", [ValueError("no")]),
        None,
    ],
)
def test_no_exporter_harms_another_or_the_organism(failure: BaseException | None) -> None:
    """Whatever a sink raises in whatever method, or if it never returns: the others get all, and the organism ends."""

    async def main() -> None:
        broken, sound = Broken(failure, failure), Flaky()
        async with make() as organism:
            exports = [Export(name="broken", sink=broken), Export(name="sound", sink=sound)]
            async with exporting(exports, origin_of(organism)):
                await organism.run("hello")
                await anyio.sleep(60)
                await organism.run("hello")
                await anyio.sleep(60)
        assert sound.taken
        assert sound.closed
        if failure is not None:
            assert [event.id for event in broken.taken] == [event.id for event in sound.taken]

    run(main)


def test_next_process_goes_on_where_the_last_one_was() -> None:
    """The place in the events is kept in the journal: after a restart only what is new is sent."""
    journal = MemoryJournal()
    first, second = Flaky(), Flaky()

    async def life(sink: Flaky) -> None:
        organism = make(journal=journal)
        export = Export(name="x", sink=sink, types=frozenset({"UsageEvent"}))
        async with organism, exporting([export], origin_of(organism)):
            await organism.run("go")
            await anyio.sleep(1)

    run(lambda: life(first))
    run(lambda: life(second))

    assert len(first.taken) == len(second.taken) == 1
    assert first.taken[0].source == second.taken[0].source
    assert first.taken[0].id < second.taken[0].id


def test_file_has_whole_lines_only(tmp_path: Path) -> None:
    """What a crash has left of a line is written again whole, and only the owner can read the file."""
    path = tmp_path / "out" / "usage.jsonl"
    events = [envelope(event, "s") for event in _USAGE]

    async def scenario() -> None:
        sink = JsonLines(path)
        await sink.deliver(events[:1])
        with path.open("ab") as file:
            file.write(b'{"id": "half')
        await sink.deliver(events[1:])

    run(scenario)

    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [event.id for event in events]
    assert path.stat().st_mode & 0o077 == 0


def usage_events() -> list[Any]:
    """Return what two calls of a paying thread and one of nobody's tell."""
    found: list[Any] = []

    async def scenario() -> None:
        async with make() as organism:
            await organism.run("go", labels={"tenant": "cus_1"})
            await organism.run("go", labels={"tenant": "cus_2"})
            await organism.run("go")
            found.extend(await organism.events_after(""))

    run(scenario)
    return [event for event in found if type(event).__name__ == "UsageEvent"]


_USAGE = usage_events()


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted; answers with what it was told to."""

    got: ClassVar[list[tuple[dict[str, str], bytes]]] = []
    answers: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.got.append((dict(self.headers.items()), body))
        self.send_response(self.answers.pop(0) if self.answers else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Any:
    Receiver.got.clear()
    Receiver.answers.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook?key=geheim"
    server.shutdown()
    server.server_close()


@pytest.mark.anyio
async def test_webhook_is_signed_and_what_is_not_taken_is_an_error_without_the_address(receiver: str) -> None:
    """The receiver can check who sent a request and when; an address, which may hold a secret, is in no error."""
    events = [envelope(event, "urn:organism:x:in_1") for event in _USAGE]
    hook = Webhook(receiver, lambda: 1_700_000_000 * 10**9, secret="s3cret", token="t0ken")
    await hook.deliver(events)
    headers, body = Receiver.got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"s3cret", signed, sha256).digest()).decode()
    assert f"v1,{expected}" in headers["webhook-signature"].split()
    assert headers["authorization"] == "Bearer t0ken"
    assert headers["content-type"] == "application/cloudevents-batch+json"
    assert [one["id"] for one in json.loads(body)] == [event.id for event in events]

    for status in (302, 404, 500):
        Receiver.answers.append(status)
        with pytest.raises(UndeliveredError, match=str(status)) as refused:
            await hook.deliver(events)
        assert "geheim" not in str(refused.value)
    await hook.aclose()
    gone = Webhook("http://127.0.0.1:9/?key=geheim", lambda: 0)
    with pytest.raises(UndeliveredError, match="ConnectError") as refused:
        await gone.deliver(events)
    assert "geheim" not in str(refused.value)
    await gone.aclose()


@pytest.mark.parametrize("shape", [as_cloudevents, openmeter("tenant"), lago("tenant"), stripe("tenant")])
def test_what_is_sent_twice_has_the_same_identifiers(shape: BodyFormat) -> None:
    """A meter that drops repeats by their identifier counts every call once."""
    events = [envelope(event, "urn:organism:x:in_1") for event in _USAGE]

    assert shape(events) == shape(events)
    assert shape(events)


def test_meters_get_every_paid_token_once_with_its_customer() -> None:
    """OpenMeter, Lago and Stripe add up to what the ledger has charged to those who pay; others are left out."""
    events = [envelope(event, "urn:organism:x:in_1") for event in _USAGE]
    tokens = sum(event.usage.total for event in _USAGE if event.labels)

    (batch,) = openmeter("tenant")(events)
    lines = json.loads(batch.body)
    assert sum(line["data"]["tokens"] for line in lines) == tokens
    assert {line["subject"] for line in lines} == {"cus_1", "cus_2"}
    assert len({line["id"] for line in lines}) == len(lines) == 4

    (batch,) = lago("tenant")(events)
    lines = json.loads(batch.body)["events"]
    assert sum(line["properties"]["input_tokens"] + line["properties"]["output_tokens"] for line in lines) == tokens
    assert {line["external_subscription_id"] for line in lines} == {"cus_1", "cus_2"}
    assert {line["precise_total_amount_cents"] for line in lines} == {"0.0000000"}

    forms = [parse_qs(delivery.body.decode()) for delivery in stripe("tenant")(events)]
    assert sum(int(form["payload[value]"][0]) for form in forms) == tokens
    assert {form["payload[token_type]"][0] for form in forms} == {"input", "output"}
    assert all(len(form["identifier"][0]) <= 100 for form in forms)
