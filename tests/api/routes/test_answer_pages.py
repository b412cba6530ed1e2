"""A person answers a question by the link that a webhook was sent: the page says what is asked, its button answers."""

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, ClassVar

import anyio.to_thread
import httpx2
import pytest

from organism.daemon import Daemon
from organism.usage.events import OperatorAction

pytestmark = pytest.mark.anyio

YAML = """\
name: desk
entry: clerk
python_path: ["."]
agents: {{clerk: {{handler: "answer_pages_clerk:clerk"}}}}
daemon: {{public_url: "https://agents.example"}}
exporters:
  slack: {{type: webhook, url: "{url}", events: [ApprovalRequested], answer_link_hours: 24}}
  archive: {{type: jsonl, path: archive.jsonl}}
"""
HANDLER = '''\
from organism import Context, Text

async def clerk(message: Text, ctx: Context) -> Text:
    """Do it if a person says so."""
    return Text("done" if (await ctx.approval("wipe", f"<b>{message.text}</b>")).allowed else "left alone")
'''
BROWSER = {"host": "agents.example"}
LINKED = {**BROWSER, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
PRESSED = {**BROWSER, "sec-fetch-site": "same-origin", "origin": "https://agents.example"}


class Receiver(BaseHTTPRequestHandler):
    """Keeps what is posted."""

    got: ClassVar[Queue[dict[str, Any]]] = Queue()

    def do_POST(self) -> None:
        """Take events."""
        for event in json.loads(self.rfile.read(int(self.headers["content-length"]))):
            self.got.put(event["data"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[tuple[Daemon, httpx2.AsyncClient]]:
    """Run a daemon whose webhook is heard, and a browser without any token."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Receiver))
        Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        (folder / "answer_pages_clerk.py").write_text(HANDLER)
        file = folder / "organism.yaml"
        file.write_text(YAML.format(url=f"http://127.0.0.1:{server.server_port}/hook"))
        daemon = await stack.enter_async_context(Daemon(file, port=0))
        yield daemon, await stack.enter_async_context(httpx2.AsyncClient(base_url=daemon.url, timeout=60))


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the handler's module after the test."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "answer_pages_clerk", None)
    del sys.modules["answer_pages_clerk"]


async def asked(daemon: Daemon, text: str = "the disk") -> tuple[str, dict[str, str]]:
    """Ask, and return the thread and the paths of the links that the webhook was sent."""
    thread = await daemon.organism.open_thread(text)
    data = await anyio.to_thread.run_sync(Receiver.got.get)
    urls = {answer: data[f"{answer}_url"] for answer in ("allow", "deny")}
    assert all(url.startswith("https://agents.example/answer/") for url in urls.values())
    return thread, {answer: url.removeprefix("https://agents.example") for answer, url in urls.items()}


def kept(folder: Path) -> list[bytes]:
    """Return all that is in files."""
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("answer", "text"), [("allow", "done"), ("deny", "left alone")])
async def test_person_without_a_token_answers_by_the_link(tmp_path: Path, answer: str, text: str) -> None:
    """Opening it has no effect, however often; its button answers once, and both links are dead after it."""
    async with desk(tmp_path) as (daemon, browser):
        thread, paths = await asked(daemon)
        orders: list[OperatorAction] = []
        daemon.organism.usage.subscribe(orders.append, OperatorAction)
        for headers in (BROWSER, LINKED):
            page = await browser.get(paths[answer], headers=headers)
            assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "form-action 'self'" in page.headers["content-security-policy"]
            assert page.headers["referrer-policy"] == "same-origin"
            assert "clerk, in " + thread in page.text
            assert "&lt;b&gt;the disk&lt;/b&gt;" in page.text
            assert re.findall(r"<button>(\w+)</button>", page.text) == [answer.title()]
        assert len(daemon.organism.approvals.waiting()) == 1

        done = await browser.post(paths[answer], headers=PRESSED)
        assert (done.status_code, daemon.organism.approvals.waiting()) == (200, ())
        assert (await daemon.organism.wait(thread)).text == text
        assert [(order.action, order.by) for order in orders] == [("approval.decide", "link:slack")]
        for path in paths.values():
            assert (await browser.post(path, headers=PRESSED)).status_code == 410
            assert (await browser.get(path, headers=LINKED)).status_code == 410


async def test_only_the_page_itself_answers(tmp_path: Path) -> None:
    """A page elsewhere, a preview, a changed link and a body are refused; the question stands."""
    async with desk(tmp_path) as (daemon, browser):
        _, paths = await asked(daemon)
        allow, deny = paths["allow"], paths["deny"]
        elsewhere = {**LINKED, "origin": "https://evil.example"}
        seen = {
            "post from elsewhere": await browser.post(allow, headers=elsewhere),
            "fetch from elsewhere": await browser.get(allow, headers={**LINKED, "sec-fetch-mode": "cors"}),
            "another host": await browser.get(allow, headers={"host": "evil.example"}),
            "head": await browser.head(allow, headers=BROWSER),
            "body": await browser.post(allow, headers=PRESSED, content=b"x"),
            "other answer": await browser.post(deny.replace("/deny?", "/allow?"), headers=PRESSED),
            "no signature": await browser.post(allow.partition("&signature")[0], headers=PRESSED),
            "no link": await browser.get("/answer/x/allow", headers=LINKED),
            "dashboard from elsewhere": await browser.get("/", headers=LINKED),
        }
        assert {name: answer.status_code for name, answer in seen.items()} == {
            "post from elsewhere": 403,
            "fetch from elsewhere": 403,
            "another host": 421,
            "head": 405,
            "body": 413,
            "other answer": 404,
            "no signature": 404,
            "no link": 404,
            "dashboard from elsewhere": 403,
        }
        assert len(daemon.organism.approvals.waiting()) == 1


async def test_links_are_only_in_what_the_webhook_is_sent(tmp_path: Path) -> None:
    """Those who may read events, the journal or another exporter's file may not answer by it."""
    async with desk(tmp_path) as (daemon, browser):
        thread, paths = await asked(daemon)
        token = (daemon.state / "token").read_text().strip()
        page = await browser.get("/v1/events/page", headers={"authorization": f"Bearer {token}"})
        assert "ApprovalRequested" in page.text
        await browser.post(paths["deny"], headers=PRESSED)
        await daemon.organism.wait(thread)
    written = kept(tmp_path)
    assert not any(b"signature=" in text for text in (page.content, *written))
    assert any(b"ApprovalRequested" in text for text in written)
