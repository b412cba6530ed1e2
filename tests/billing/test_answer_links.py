"""Links that answer a question: for that question, that answer and that exporter, and only while it is asked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from msgspec.structs import replace

from organism import ConfigError
from organism.billing.answer_links import AnswerLink, AnswerLinks
from organism.billing.webhook import BodyFormat, Webhook, WebhookRequest
from organism.config.build.exporters import exports
from organism.config.load import load_config
from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.threads.approvals import Approval
from organism.usage.cloudevents import envelope
from organism.usage.events import ApprovalRequested

HOUR_NS = 3600 * 10**9
ASKED = Approval("msg_1.0.ab/c", "th_1", "th_1", "clerk", "msg_1", "wipe", "the disk", asked_ns=5 * HOUR_NS)
EVENT = ApprovalRequested(thread_id="th_1", root_thread_id="th_1", agent="clerk", approval_id=ASKED.id, what=ASKED.what)


@dataclass
class Desk:
    """What is asked, and when it is."""

    asked: list[Approval] = field(default_factory=lambda: [ASKED])
    now_ns: int = ASKED.asked_ns

    def links(self, key: str = "s") -> AnswerLinks:
        """Return links of this desk, for the exporter ``slack``."""
        return AnswerLinks(key, "https://agents.example/", lambda: self.asked, lambda: self.now_ns)


def sent(links: AnswerLinks, exporter: str = "slack", hours: int = 24) -> dict[str, tuple[AnswerLink, str]]:
    """Return the links that an exporter is sent, with their signatures, by answer."""
    data = links.for_exporter(exporter, hours)(envelope(EVENT, "urn:x")).data
    assert isinstance(data, ApprovalRequested)
    return {answer: read(url) for answer, url in (("allow", data.allow_url), ("deny", data.deny_url))}


def read(url: str) -> tuple[AnswerLink, str]:
    """Return what a link says and its signature."""
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc) == ("https", "agents.example")
    _, _, approval, answer = parts.path.split("/")
    query = {name: value for name, (value,) in parse_qs(parts.query).items()}
    signature = query.pop("signature")
    return AnswerLink(approval_id=unquote(approval), answer=answer, **query), signature


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_link_is_good_for_what_it_was_made_for(answer: str) -> None:
    """It is signed, and finds its question."""
    desk = Desk()
    links = desk.links()
    link, signature = sent(links)[answer]
    assert (link.answer, links.is_signed(link, signature), links.approval(link)) == (answer, True, ASKED)


FORGED: dict[str, Any] = {
    "answer": {"answer": "deny"},
    "question": {"approval_id": "msg_2.0.abc"},
    "exporter": {"exporter": "pager"},
    "time": {"asked": str(ASKED.asked_ns + HOUR_NS)},
    "fields moved": {"approval_id": "msg_1.0.ab", "answer": "/callow"},
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_signature_is_for_one_question_answer_exporter_and_time(change: dict[str, str]) -> None:
    """None of them can be changed in a link; nor is it good for another daemon, or with letters missing."""
    links = Desk().links()
    link, signature = sent(links)["allow"]
    assert not links.is_signed(replace(link, **change), signature)
    assert not Desk().links("another").is_signed(link, signature)
    assert not any(links.is_signed(link, wrong) for wrong in ("", signature[:-1], signature.upper(), "é" * 64))


def answered(desk: Desk) -> None:
    desk.asked.clear()


def asked_again(desk: Desk) -> None:
    desk.asked[:] = [replace(ASKED, asked_ns=ASKED.asked_ns + HOUR_NS)]


def old(desk: Desk) -> None:
    desk.now_ns += 24 * HOUR_NS


@pytest.mark.parametrize("happens", [answered, asked_again, old])
def test_link_is_dead_when(happens: Any) -> None:
    """The question is answered or over, is asked again later under its own name, or was asked too long ago."""
    desk = Desk()
    links = desk.links()
    link, _ = sent(links)["allow"]
    desk.now_ns += 24 * HOUR_NS - 1
    assert links.approval(link) == ASKED
    desk.now_ns = ASKED.asked_ns
    happens(desk)
    assert links.approval(link) is None


def test_link_is_dead_when_its_exporter_has_none_any_more() -> None:
    """Links that are switched off in the configuration are off, those too that are out already."""
    desk = Desk()
    link, signature = sent(desk.links())["allow"]
    restarted = desk.links()
    assert (restarted.is_signed(link, signature), restarted.approval(link)) == (True, None)


def test_event_of_an_answered_question_has_no_links() -> None:
    """What is delivered late asks nobody to answer what is answered."""
    desk = Desk(asked=[])
    assert desk.links().for_exporter("slack", 1)(envelope(EVENT, "urn:x")).data == EVENT


@pytest.mark.anyio
async def test_receiver_that_repeats_a_link_gives_it_away_to_nobody() -> None:
    """What a receiver says of an event it refuses is shown to people who may read, and not answer."""
    event = Desk().links().for_exporter("slack", 24)(envelope(EVENT, "urn:x"))
    assert isinstance(event.data, ApprovalRequested)
    step = HTTPStep(status=400, body=f'{{"error": "what is {event.data.allow_url}?"}}')
    async with ScriptedHTTPProvider((step,)) as receiver:
        shape = BodyFormat(lambda _events: [WebhookRequest("one", b"{}", "application/json")])
        hook = Webhook(f"{receiver.url}/v1/chat/completions", lambda: ASKED.asked_ns, shape=shape)
        (rejected,) = await hook.deliver([event])
        await hook.aclose()
    assert rejected.reason.endswith("&signature=...?")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("answer_link_hours: 0", "from 1 to 720"),
        ("answer_link_hours: 721", "from 1 to 720"),
        ("answer_link_hours: 24", "links are in the event ApprovalRequested"),
        ("answer_link_hours: 24, events: [UsageEvent]", "links are in the event ApprovalRequested"),
        ("answer_link_hours: 24, events: [ApprovalRequested], format: stripe", "with the format cloudevents"),
    ],
)
def test_links_where_there_can_be_none_are_refused(tmp_path: Path, more: str, said: str) -> None:
    """A link in what holds none is told with its line."""
    file = tmp_path / "organism.yaml"
    hook = f"exporters: {{hook: {{type: webhook, url: 'https://x.example', {more}}}}}\n"
    file.write_text("name: x\nentry: a\nagents: {a: {handler: 'm:f'}}\n" + hook)
    with pytest.raises(ConfigError, match=said) as refused:
        exports(load_config(file, {}), lambda: 0)
    assert "organism.yaml:4" in str(refused.value)
