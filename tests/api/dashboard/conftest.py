"""A daemon and its dashboard in a real browser, Debian's Chromium."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

expect.set_options(timeout=30_000)  # a busy machine is slow, and nothing is measured here

CHROMIUM = "/usr/bin/chromium"
ORGANISM = """\
name: newsroom
entry: planner
python_path: [.]
limits: {thread: {calls: 3}, day: {usd: 5}}
prices: {"fake/any": {input: 3, output: 15}}
llm:
  providers:
    fake: {type: scripted, answers: ["<img src=x onerror=alert(1)>"]}
  models:
    main: fake/any
agents:
  planner: {model: main, next: writer}
  writer: {model: main}
  sleeper: {handler: "desk:sleep"}
  janitor: {handler: "desk:clean"}
  clumsy: {handler: "desk:drop"}
  eager: {handler: "desk:beg"}
"""
DESK = """\
import anyio
from organism import Context, Text

async def sleep(message: Text, ctx: Context) -> Text:
    await ctx.llm.complete(message.text, max_output_tokens=16)
    await anyio.sleep_forever()
    return message

async def clean(message: Text, ctx: Context) -> Text:
    await ctx.llm.complete(message.text, max_output_tokens=16)
    said = await ctx.approval("delete_files", "a.txt, <b>b.txt</b>")
    return Text(f"allowed={said.allowed} because {said.note}")

async def beg(message: Text, ctx: Context) -> Text:
    await ctx.request_budget(tokens=500, reason="a long table")
    await anyio.sleep_forever()
    return message

async def drop(message: Text, ctx: Context) -> Text:
    raise ValueError("it fell")
"""


class Daemon:
    """A daemon and its command line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "organism.yaml").write_text(ORGANISM)
        (folder / "desk.py").write_text(DESK)
        self.start()

    def start(self) -> None:
        """Start the daemon, on what an earlier one has left."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "organism", "daemon", "--port", "0", "--log-format", "json"],
            cwd=self._folder,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        while '"ready"' not in self.process.stderr.readline():
            assert self.process.poll() is None

    def kill(self) -> None:
        """End the daemon as nothing can be caught."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def run(self, *arguments: str) -> str:
        """Run a command and return what it says."""
        command = [sys.executable, "-m", "organism", *arguments]
        return subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("newsroom"))
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(daemon: Daemon, browser: Browser) -> Iterator[Page]:
    """Open the dashboard by its link; anything the browser complains about fails the test."""
    complaints: list[str] = []
    opened = browser.new_page()
    opened.on("console", lambda message: complaints.append(f"{message.text} {message.location['url']}"))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.set_default_timeout(30_000)
    opened.goto(daemon.run("dashboard"))
    expect(opened.locator("#connection.on")).to_be_visible()
    yield opened
    opened.close()
    assert complaints == []
