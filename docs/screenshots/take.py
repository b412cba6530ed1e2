"""Take the pictures of the dashboard that README and documentation show, in a real browser, of a daemon at work.

``python docs/screenshots/take.py`` writes them beside this file. ``--all FOLDER`` writes every view in every size and
scheme there, to be looked at, with ten thousand threads last. It needs Debian's ``chromium``.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bench.dashboard import CHROMIUM, Daemon

HERE = Path(__file__).parent
VIEWS = ("overview", "threads", "budgets", "agents", "approvals", "letters", "keys", "health", "send")
TABS = ("timeline", "messages", "children", "ledger", "replay")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 360, "height": 780}
CONFIGURATION = """\
name: newsroom
entry: editor
bounds: {mailbox_messages: 20000}
python_path: [.]
thresholds: {75: warn, 90: warn, 95: warn}
limits:
  thread: {usd: 0.60, calls: 40}
  day: {usd: 40}
  month: {usd: 400, tokens: 40000000}
  rolling: {hours: 6, calls: 2000}
  agents:
    writer: {per: day, usd: 12}
    columnist: {per: day, usd: 0.02, thresholds: {40: approve, 80: approve}}
  models: {large: {per: day, usd: 20}}
  labels: {tenant: {per: day, usd: 9}}
prices: {"fake/large": {input: 3, output: 15}, "fake/small": {input: 0.25, output: 1.25}}
llm:
  providers: {fake: {type: scripted, answers: ["Tides rise and fall twice a day, as the moon pulls at the sea."]}}
  models: {large: fake/large, small: fake/small}
agents:
  editor: {handler: "desk:plan", next: [researcher, photographer]}
  researcher: {handler: "desk:research", next: writer}
  photographer: {handler: "desk:picture", next: writer}
  writer: {handler: "desk:write", gather: [researcher, photographer], next: critic}
  critic: {handler: "desk:criticise"}
  publisher: {handler: "desk:publish"}
  columnist: {handler: "desk:column"}
  analyst: {handler: "desk:count"}
"""
DESK = """\
import anyio
from organism import Context, Gathered, Text

WORDS = "The moon pulls at the sea, and the sea follows it around the world twice a day. " * 40


def work(model, tokens, seconds):
    async def handle(message: Text, ctx: Context) -> Text:
        await anyio.sleep(seconds)
        said = await ctx.llm.complete(WORDS[: tokens * 4], model=model, max_output_tokens=tokens)
        return Text(said.text)
    return handle


plan = work("small", 300, 0.05)
research = work("large", 900, 0.3)
picture = work("small", 200, 0.1)
criticise = work("small", 500, 0.1)


async def write(message: Gathered, ctx: Context) -> Text:
    await anyio.sleep(0.4)
    said = await ctx.llm.complete(WORDS, model="large", max_output_tokens=1200)
    return Text(said.text)


async def column(message: Text, ctx: Context) -> Text:
    for _ in range(4):
        said = await ctx.llm.complete(WORDS[:3200], model="large", max_output_tokens=100)
    return Text(said.text)


async def count(message: Text, ctx: Context) -> Text:
    await ctx.llm.complete(message.text, model="small", max_output_tokens=100)
    more = await ctx.request_budget(usd="0.25", tokens=50_000, reason=f"{message.text}: four more tables")
    await ctx.llm.complete(f"{message.text}, {more}", model="large", max_output_tokens=400)
    said = await ctx.approval("send_to_press", "tables 1 to 4")
    return Text(f"sent: {said.allowed}")


async def publish(message: Text, ctx: Context) -> Text:
    if not message.text.startswith("edition"):
        await ctx.llm.complete(WORDS, model="small", max_output_tokens=100)
    if "fail" in message.text:
        raise ValueError("the press is out of paper")
    said = await ctx.approval("print", f"42,000 copies of: {message.text}")
    return Text(f"printed: {said.allowed}")
"""


class Newsroom(Daemon):
    """A daemon of a small team, and its API."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CONFIGURATION, DESK)
        url, _, session = self.link().partition("#session=")
        self._client = httpx2.Client(base_url=url, headers={"authorization": f"Bearer {session}"}, timeout=60)

    def open(self, text: str, to: str | None = None, **labels: str) -> str:
        """Open a thread and return its id."""
        body = {"text": text, "labels": labels, **({"to": to} if to else {})}
        answer = self._client.post("/v1/threads", json=body)
        answer.raise_for_status()
        return str(answer.json()["thread_id"])

    def work(self) -> str:
        """Have it work for a while for several tenants; returns a thread that is worth a look."""
        tenants = ("acme", "globex", "initech", "umbrella")
        threads = [
            self.open(f"Write about tides, part {n}", tenant=tenants[n * n % 4], user=f"u{n % 7}") for n in range(24)
        ]
        self.open("the spring edition", "publisher", tenant="acme")
        self.open("the late edition", "publisher", tenant="globex")
        self.open("fail", "publisher", tenant="initech")
        for name, tenant in (("ci", "acme"), ("assistant", "globex")):
            self.run("token", "make", name, "--scope", "send", "--label", f"tenant={tenant}")
        self.ask_people()
        self.run("freeze", "tenant=umbrella", "--reason", "their invoice of October is open")
        self.open("Write about the moon", tenant="umbrella", user="u9")
        self._until(lambda: all(thread["waiting"] in {"person", "freeze"} for thread in self._threads()))
        return threads[3]

    def ask_people(self) -> None:
        """Have limits ask a person and agents ask for more; some are answered, some wait."""
        self.open("On rain", "columnist", tenant="acme")
        self._until(lambda: not self._threads(agent="columnist"))
        second = self.open("On wind", "columnist", tenant="globex")
        self._answer(second, {"allowed": True, "note": "it is for the front page"})
        self._until(lambda: not self._threads(agent="columnist"))
        self.open("On snow", "columnist", tenant="initech")
        self._answer(self.open("Tides of a year", "analyst", tenant="acme"), {"allowed": True, "seconds": 3600})
        self.open("Ships of a year", "analyst", tenant="initech")
        self._until(
            lambda: len(self._threads(agent="analyst")) == len(self._threads(agent="analyst", waiting="person"))
        )

    def _threads(self, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.get(
            "/v1/threads", params={name: value for name, value in query.items() if value}
        ).json()["threads"]
        return found

    def thread_of(self, agent: str, tenant: str) -> str:
        """Return the newest open thread of an agent, whichever it is if none is named, for a tenant."""
        return str(self._threads(agent=agent, label=f"tenant={tenant}")[0]["thread_id"])

    def _answer(self, thread: str, decision: dict[str, Any]) -> None:
        """Answer the first thing that is asked in a thread."""
        asked: list[dict[str, Any]] = []
        self._until(
            lambda: bool(asked.extend(self._client.get("/v1/approvals", params={"thread": thread}).json()) or asked)
        )
        self._client.post(f"/v1/approvals/{asked[0]['id']}", json=decision).raise_for_status()

    def _until(self, done: Callable[[], bool]) -> None:
        """Wait until something is so."""
        for _ in range(300):
            if done():
                return
            time.sleep(0.1)
        raise SystemExit(f"it did not come to that; there is: {self._threads()}")

    def crowd(self, number: int) -> None:
        """Open many threads that wait for a person."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: self.open(f"edition {n}", "publisher", tenant=f"t{n % 50}"), range(number)))


@contextmanager
def newsroom() -> Iterator[Newsroom]:
    """Run a daemon in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        running = Newsroom(Path(folder))
        try:
            yield running
        finally:
            running.end()


def opened(browser: Browser, room: Newsroom, size: dict[str, int], scheme: str = "light") -> Page:
    """Open the dashboard and wait until it is live."""
    context = browser.new_context(viewport=size, color_scheme=scheme, device_scale_factor=1)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: print("console:", message.text, file=sys.stderr))
    page.on("pageerror", lambda error: print("error:", error, file=sys.stderr))
    page.goto(room.link())
    page.locator("#connection.on").wait_for()
    return page


def shoot(page: Page, view: str, path: Path, *, whole: bool = False) -> None:
    """Go to a view, wait until all of it is there, and take its picture."""
    page.goto(f"{page.url.partition('#')[0]}#/{view}")
    page.locator("main h1").first.wait_for()
    expect(page.locator(".skeleton")).to_have_count(0)
    page.wait_for_timeout(400)
    page.screenshot(path=path, full_page=whole, animations="disabled")


def take_all(browser: Browser, folder: Path, crowd: int) -> None:
    """Take every view in every size and scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    with newsroom() as room:
        page = opened(browser, room, DESKTOP)
        for view in VIEWS:
            shoot(page, view, folder / f"empty-{view}.png")
        page.context.close()
        thread = room.work()
        views = {**{view: view for view in VIEWS}, "threads": "threads?state=all", "task": f"send/{thread}"}
        views |= {"hour": "overview?range=hour&by=model", "period": "overview?range=own&from=2026-01-01T00:00Z"}
        views |= {tab: f"threads/{thread}/{tab}" for tab in TABS}
        views |= {
            "granted": f"threads/{room.thread_of('analyst', 'acme')}",
            "frozen": f"threads/{room.thread_of('', 'umbrella')}",
        }
        views |= {"asked": f"threads/{room.thread_of('columnist', 'initech')}/ledger"}
        for name, size, scheme in (("desktop", DESKTOP, "light"), ("phone", PHONE, "light"), ("dark", DESKTOP, "dark")):
            page = opened(browser, room, size, scheme)
            for view, address in views.items():
                shoot(page, address, folder / f"{name}-{view}.png", whole=True)
            page.context.close()
        room.crowd(crowd)
        shoot(opened(browser, room, DESKTOP), "threads", folder / "many-threads.png")


def take_few(browser: Browser) -> None:
    """Take the pictures of README and documentation."""
    with newsroom() as room:
        thread = room.work()
        page = opened(browser, room, {"width": 1280, "height": 860})
        for view, address in {
            "overview": "overview",
            "threads": "threads?state=all",
            "thread": f"threads/{thread}",
        }.items():
            shoot(page, address, HERE / f"{view}.png")
        shoot(page, "agents", HERE / "agents.png")
        shoot(page, "budgets", HERE / "budgets.png")
        shoot(page, "approvals", HERE / "approvals.png")
        shoot(opened(browser, room, PHONE, "dark"), "overview", HERE / "phone-dark.png")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    parser.add_argument("--crowd", type=int, default=10_000)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        if given.all:
            take_all(browser, given.all, given.crowd)
        else:
            take_few(browser)
        browser.close()


if __name__ == "__main__":
    main()
