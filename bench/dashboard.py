"""The dashboard in a real browser: its size, when it is painted, and how smoothly ten thousand threads are looked at.

    python -m bench.dashboard [--threads 10000] [--loads 5] [--json FILE]

It needs Debian's ``chromium``. Times are the browser's own: its paint entries, the frames that it draws, and the tasks
that it calls long because they keep its main thread for more than 50 ms. On a machine with other work these tell of
that work too, so a trace says besides how long the page itself was at work in its longest task.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
from playwright.sync_api import Browser, Page, expect, sync_playwright

expect.set_options(timeout=30_000)

CHROMIUM = "/usr/bin/chromium"
LONG_MS = 50
"""A task that takes longer is one that a person may feel, as browsers have it."""
CONFIGURATION = """\
name: newsroom
entry: publisher
bounds: {mailbox_messages: 20000}
python_path: [.]
limits: {thread: {usd: 0.60, calls: 40}, day: {usd: 40}, labels: {tenant: {per: day, usd: 9}}}
agents:
  publisher: {handler: "desk:publish"}
"""
DESK = """\
from organism import Context, Text


async def publish(message: Text, ctx: Context) -> Text:
    said = await ctx.approval("print", f"42,000 copies of: {message.text}")
    return Text(f"printed: {said.allowed}")
"""
FRAMES = """() => {
  const seen = window.seen = { frames: [], long: [] };
  let last = performance.now();
  const frame = (now) => { seen.frames.push(now - last); last = now; seen.next = requestAnimationFrame(frame); };
  seen.next = requestAnimationFrame((now) => { last = now; seen.next = requestAnimationFrame(frame); });
  seen.observer = new PerformanceObserver((list) => seen.long.push(...list.getEntries().map((one) => one.duration)));
  seen.observer.observe({ type: "longtask" });
}"""
SEEN = """() => { cancelAnimationFrame(seen.next); seen.observer.disconnect(); return [seen.frames, seen.long]; }"""
LOADED = """() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/dashboard/'))
  .reduce((sum, one) => sum + one.encodedBodySize, performance.getEntriesByType('navigation')[0].encodedBodySize)"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
VIOLATIONS = "async () => (await axe.run(document)).violations.reduce((sum, one) => sum + one.nodes.length, 0)"
VIEWS = ("overview", "threads", "budgets", "agents", "approvals", "letters", "keys", "health", "send", "api")


class Daemon:
    """A daemon, and its API; of one agent that asks a person unless given otherwise.

    Args:
        folder: Where it is made.
        configuration: Its organism.yaml.
        desk: Its handlers, ``desk.py``.
    """

    def __init__(self, folder: Path, configuration: str = CONFIGURATION, desk: str = DESK) -> None:
        self._folder = folder
        (folder / "organism.yaml").write_text(configuration)
        (folder / "desk.py").write_text(desk)
        command = [sys.executable, "-m", "organism", "daemon", "--port", "0", "--log-format", "json"]
        self.process = subprocess.Popen(command, cwd=folder, stderr=(folder / "log").open("w"))
        while '"ready"' not in (folder / "log").read_text():
            if self.process.poll() is not None:
                raise SystemExit((folder / "log").read_text())

    def run(self, *arguments: str) -> str:
        """Run a command and return what it prints."""
        command = [sys.executable, "-m", "organism", *arguments]
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=True).stdout.strip()

    def link(self) -> str:
        """Return a link that opens the dashboard once."""
        return self.run("dashboard")

    def end(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()

    def crowd(self, number: int) -> None:
        """Open many threads that wait for a person."""
        url, _, session = self.link().partition("#session=")
        with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {session}"}, timeout=60) as client:

            def open_one(place: int) -> None:
                body = {"text": f"edition {place}", "labels": {"tenant": f"t{place % 50}"}}
                client.post("/v1/threads", json=body).raise_for_status()

            with ThreadPoolExecutor(4) as pool:
                list(pool.map(open_one, range(number)))


@contextmanager
def daemon() -> Iterator[Daemon]:
    """Run a daemon in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        running = Daemon(Path(folder))
        try:
            yield running
        finally:
            running.end()


def loads(browser: Browser, running: Daemon, number: int) -> dict[str, float]:
    """Load the page so often; when it was painted first, and when its figures stood there, in milliseconds."""
    painted: list[float] = []
    shown: list[float] = []
    size = 0
    for _ in range(number):
        page = browser.new_context().new_page()
        page.goto(running.link())
        page.locator(".figures").wait_for()
        shown.append(page.evaluate("performance.now()"))
        painted.append(page.evaluate(PAINTED))
        size = page.evaluate(LOADED)
        page.context.close()
    return {"bytes": size, "painted_ms": median(painted), "painted_worst_ms": max(painted), "shown_ms": median(shown)}


def busiest(trace: bytes) -> list[float]:
    """Return how long each task of the main thread was at work, in milliseconds of the processor, the longest first."""
    events = json.loads(trace)["traceEvents"]
    main = {(each["pid"], each["tid"]) for each in events if each.get("args", {}).get("name") == "CrRendererMain"}
    done = [each for each in events if each["name"] == "RunTask" and (each["pid"], each["tid"]) in main]
    return sorted((each.get("tdur", 0) / 1000 for each in done), reverse=True) or [0]


def smooth(page: Page, do: Callable[[], None]) -> dict[str, float]:
    """Do something, and return what the browser says of its frames and tasks meanwhile, in milliseconds."""
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["__metadata", "disabled-by-default-devtools.timeline"])
    page.evaluate(FRAMES)
    do()
    frames, long = page.evaluate(SEEN)
    tasks = busiest(browser.stop_tracing())
    frames.sort()
    return {
        "work_ms": tasks[0],
        "work_long": sum(task > LONG_MS for task in tasks),
        "frames": len(frames),
        "median_ms": median(frames),
        "p99_ms": frames[int(len(frames) * 0.99)],
        "worst_ms": frames[-1],
        "long_tasks": len(long),
        "longest_task_ms": max(long, default=0),
    }


def scroll(page: Page) -> None:
    """Scroll down and up through the page."""
    page.mouse.move(700, 500)
    for step in range(80):
        page.mouse.wheel(0, 120 if step < 40 else -120)
        page.wait_for_timeout(25)


def search(page: Page) -> None:
    """Look for a tenant, letter by letter, and for a part of an id; each time until the list is there."""
    field = page.get_by_label("Search threads")
    for words in ("tenant=t17", "th_1 t2"):
        field.fill("")
        field.press_sequentially(words, delay=60)
        page.wait_for_timeout(300)
        expect(page.locator("section[aria-busy=false]")).to_be_visible()
    field.fill("")
    page.wait_for_timeout(500)


def sort(page: Page) -> None:
    """Sort by cost, age and activity, in both directions."""
    for name in ("cost", "age", "quiet for"):
        for _ in range(2):
            page.locator("thead").get_by_role("button", name=name).click()
            page.wait_for_timeout(100)
            expect(page.locator("section[aria-busy=false]")).to_be_visible()


def rest(page: Page) -> None:
    """Do nothing: what the machine's other work does to frames by itself."""
    page.wait_for_timeout(5000)


def turn(page: Page) -> None:
    """Go through ten pages and back by the browser's own way."""
    for _ in range(10):
        page.get_by_role("button", name="Next").click()
        page.wait_for_timeout(100)
        expect(page.locator("section[aria-busy=false]")).to_be_visible()
    for _ in range(10):
        page.go_back()
        page.wait_for_timeout(100)


DONE = (rest, scroll, search, sort, turn)


def violations(browser: Browser, running: Daemon) -> int:
    """Return how many nodes of all views break a rule of axe."""
    page = browser.new_context(bypass_csp=True, reduced_motion="reduce").new_page()
    page.goto(running.link())
    page.evaluate(AXE)
    found = 0
    for view in VIEWS:
        page.goto(f"{page.url.partition('#')[0]}#/{view}")
        page.locator("main h1").first.wait_for()
        expect(page.locator(".skeleton")).to_have_count(0)
        found += page.evaluate(VIOLATIONS)
    page.context.close()
    return found


def measure(browser: Browser, threads: int, number: int) -> dict[str, Any]:
    """Measure an empty daemon, fill it, and measure again."""
    with daemon() as running:
        found: dict[str, Any] = {"empty": loads(browser, running, number)}
        running.crowd(threads)
        found["full"] = loads(browser, running, number)
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.goto(running.link())
        page.locator("#connection.on").wait_for()
        page.goto(f"{page.url.partition('#')[0]}#/threads")
        page.locator("tbody tr").first.wait_for()
        page.wait_for_timeout(2000)
        for do in DONE:
            found[do.__name__] = smooth(page, lambda do=do: do(page))  # type: ignore[misc]
        page.context.close()
        found["violations"] = violations(browser, running)
    return found


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=10_000)
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = measure(browser, given.threads, given.loads)
        browser.close()
    print("| | compressed | first paint | at worst | its figures are there |\n| --- | --- | --- | --- | --- |")
    for name, title in (("empty", "no threads"), ("full", f"{given.threads:,} threads")):
        one = found[name]
        times = " | ".join(f"{one[key]:.0f} ms" for key in ("painted_ms", "painted_worst_ms", "shown_ms"))
        print(f"| {title} | {one['bytes']:,} bytes | {times} |")
    print("\n| | frames | median | 99 % | worst | long tasks | longest | at work in it | long by that |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for do in DONE:
        one = found[do.__name__]
        times = " | ".join(f"{one[key]:.0f} ms" for key in ("median_ms", "p99_ms", "worst_ms"))
        print(
            f"| {do.__name__} | {one['frames']} | {times} | {one['long_tasks']} | {one['longest_task_ms']:.0f} ms | "
            f"{one['work_ms']:.0f} ms | {one['work_long']} |"
        )
    print(f"\naxe: {found['violations']} violations")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
