"""Pages of strangers in the operator's own browser, Debian's Chromium: none reads, sends or orders anything here."""

# ruff: noqa: E501 - JavaScript, a try on a line

import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, sync_playwright

pytestmark = pytest.mark.debian

CHROMIUM = "/usr/bin/chromium"
ORGANISM = """\
name: newsroom
entry: writer
gateway: {}
llm:
  providers:
    fake: {type: scripted, answers: ["some words"]}
  models:
    main: fake/any
agents:
  writer: {model: main}
"""
TRIES = """async (daemon) => {
  const found = {};
  const note = (name, promise) => promise.then(
    async (answer) => { found[name] = answer.type === "opaque" ? "opaque" : `${answer.status} ${await answer.text()}`; },
    (error) => { found[name] = "blocked"; });
  const body = JSON.stringify({text: "from a stranger", to: "writer"});
  const chat = JSON.stringify({model: "main", messages: [{role: "user", content: "x"}], max_tokens: 5});
  await note("read", fetch(`${daemon}/v1/threads`, {credentials: "include"}));
  await note("read, opaque", fetch(`${daemon}/v1/events`, {mode: "no-cors", credentials: "include"}));
  await note("order as text", fetch(`${daemon}/v1/threads`, {method: "POST", body, mode: "no-cors", credentials: "include"}));
  await note("order as JSON", fetch(`${daemon}/v1/threads`, {
    method: "POST", body, headers: {"content-type": "application/json"}, credentials: "include"}));
  await note("model call", fetch(`${daemon}/v1/chat/completions`, {method: "POST", body: chat, mode: "no-cors"}));
  await note("stop", fetch(`${daemon}/v1/stop`, {method: "POST", mode: "no-cors", credentials: "include"}));
  await note("limits", fetch(`${daemon}/v1/budgets/organism/limits`, {method: "PUT", body: "{}"}));
  found["socket"] = await new Promise((done) => {
    const socket = new WebSocket(daemon.replace("http", "ws") + "/v1/events");
    socket.onopen = () => done("open"); socket.onerror = () => done("blocked");
  });
  found["events"] = await new Promise((done) => {
    const source = new EventSource(`${daemon}/v1/events`);
    source.onopen = () => { source.close(); done("open"); }; source.onerror = () => { source.close(); done("blocked"); };
  });
  found["frame"] = await new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.onload = () => { try { done(frame.contentDocument ? "open" : "blocked"); } catch (error) { done("blocked"); } };
    frame.src = `${daemon}/dashboard`; document.body.append(frame);
  });
  const form = document.createElement("form");
  form.method = "POST"; form.action = `${daemon}/v1/threads`; form.enctype = "text/plain"; form.target = "_blank";
  const field = document.createElement("input");
  field.name = '{"text": "from a form", "x": "'; field.value = '"}';
  form.append(field); document.body.append(form); form.submit();
  return found;
}"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Run a daemon; yield its address, and the token of its owner."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "organism.yaml").write_text(ORGANISM)
    command = [sys.executable, "-m", "organism", "daemon", "--port", "0", "--log-format", "json"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        while '"ready"' not in process.stderr.readline():
            assert process.poll() is None
        token = next(folder.rglob("*token*")).read_text().strip()
        yield _address(folder), token
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def _address(folder: Path) -> str:
    said = subprocess.run(
        [sys.executable, "-m", "organism", "dashboard"], cwd=folder, capture_output=True, text=True, check=True
    )
    parts = urlsplit(said.stdout.split()[-1])
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run a browser for which a stranger's name leads to this machine, as rebinding makes it do."""
    rules = "--host-resolver-rules=MAP stranger.example 127.0.0.1"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", rules])
        yield chromium
        chromium.close()


@pytest.fixture
def stranger() -> Iterator[int]:
    """Serve a stranger's page; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>free games</title><body></body>")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["stranger.example", "127.0.0.1", "localhost"])
def test_page_of_a_stranger_reads_and_orders_nothing(
    daemon: tuple[str, str], browser: Browser, stranger: int, name: str
) -> None:
    """Whatever a page elsewhere tries, from any name of this machine too: nothing is read, and nothing comes of it."""
    address, token = daemon
    page = browser.new_page()
    page.goto(f"http://{name}:{stranger}/")
    found = page.evaluate(TRIES, address)
    page.wait_for_timeout(200)
    page.close()
    assert set(found.values()) <= {"blocked", "opaque"}, found
    with httpx2.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
        assert client.get("/v1/threads").json()["threads"] == []
        kinds = {event["type"] for event in client.get("/v1/events/page").json()["events"]}
        assert not kinds & {"ThreadOpened", "UsageEvent", "OperatorAction"}


def test_name_that_was_bound_anew_reaches_nothing(daemon: tuple[str, str], browser: Browser) -> None:
    """A stranger's name that leads to this machine is refused, page and data alike, whatever it sends."""
    address, _ = daemon
    port = urlsplit(address).port
    page = browser.new_page()
    for path in ("/", "/dashboard", "/v1/threads", "/healthz"):
        answer = page.goto(f"http://stranger.example:{port}{path}")
        assert answer is not None
        assert answer.status == 421, path
        assert "newsroom" not in answer.text()
    page.close()
