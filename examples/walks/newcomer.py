"""Record docs/WALKTHROUGH.md: a newcomer's walk, from an empty machine to the dashboard, and how long each step takes.

    python -m examples.walks.newcomer docs/WALKTHROUGH.md docs/screenshots/walkthrough.png

What is typed are the commands of docs/tutorials/ten-minutes.md, in a real terminal, in a home folder with nothing in it
but this repository. It needs tmux, git and Debian's ``chromium``, and fails if the walk takes more than ten minutes.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

from examples.walks.terminal import Session, Steady, Terminal, daemon_is_up, end_daemon

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/ten-minutes.md").read_text(encoding="utf-8")
LAST = "## The dashboard"
TYPED_PER_S = 5
"""Characters that somebody types in a second who has to look where the keys are."""
READ_PER_S = 200 / 60
"""Words that somebody reads in a second."""
MOST_S = 600
BEFORE = """\
# A newcomer's walk, recorded

From an empty machine to a team whose tenants have limits, an approval and the dashboard: the commands of
[the tutorial](tutorials/ten-minutes.md), typed into a real terminal in a home folder with nothing in it but this
repository, by Python {version}. What is written down is what stood there afterwards; only ids, days and the secret of
the link are made the same every time. What each step took is [at the end](#how-long-it-took).

To record it anew: `python -m examples.walks.newcomer docs/WALKTHROUGH.md docs/screenshots/walkthrough.png`."""
LOOK = "The link is opened in a browser, and another tenant's task is given while one looks:"
ASK = 'organism ask "Write about waves" --label tenant=globex'


class Walk:
    """A session that takes the time: of the machine from Enter to the next prompt, of fingers by what is typed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.times: dict[str, list[float]] = {}
        self.at = ""
        self._approval = ""

    def begin(self, title: str) -> None:
        """Go on to the next step."""
        self.at = title
        self.times[title] = [0.0, 0.0]
        self.session.tell(f"## {title}")

    def took(self, typed: str, seconds: float) -> None:
        """Note what was typed in this step, and how long the machine was at it."""
        self.times[self.at][0] += len(typed) / TYPED_PER_S
        self.times[self.at][1] += seconds

    def type(self, line: str) -> str:
        """Type a line, with the id that a person would copy, and return what stands there then."""
        line = re.sub(r"\bcall\.\d\S+", self._approval, line)
        began = time.monotonic()
        screen = self.session.terminal.run(line)
        self.took(line, time.monotonic() - began)
        self._approval = (re.findall(r"\bcall\.\d+\.[0-9a-f]{8}", screen) or [self._approval])[0]
        return "\n".join(screen.splitlines()[:-1])

    def table(self) -> Iterator[str]:
        """Yield the lines of what each step took."""
        words = len(re.sub(r"(?ms)^```.*?^```$", "", PAGE.partition(LAST)[0]).split())
        yield "| Step | typing | the machine |"
        yield "| --- | --- | --- |"
        for title, (typing, machine) in self.times.items():
            yield f"| {title} | {typing:.0f} s | {machine:.1f} s |"
        typing, machine = (sum(column) for column in zip(*self.times.values(), strict=True))
        whole = typing + machine + words / READ_PER_S
        yield f"| all | {typing:.0f} s | {machine:.1f} s |"
        yield ""
        yield f"With {words} words to read, at 200 a minute, that is **{whole / 60:.1f} minutes**. The seconds of the"
        yield f"machine are measured, on {os.cpu_count()} cores that others used too, with no package in pip's cache;"
        yield f"typing is reckoned at {TYPED_PER_S} characters a second, and the file is pasted."
        if whole > MOST_S:
            raise SystemExit(f"the walk took {whole:.0f} s, and is to take {MOST_S} s at most")


def steps() -> Iterator[tuple[str, str, str, str]]:
    """Yield each block of the tutorial up to the dashboard: the heading and paragraph above it, its kind and text."""
    head, _, rest = PAGE.partition(LAST)
    walked = head + LAST + rest.partition("\n## ")[0]
    title = "An empty machine"
    for before, kind, text in re.findall(r"(?s)(.*?)^```(\w+)\n(.*?)^```$", walked, re.MULTILINE):
        title = (re.findall(r"(?m)^## (.+)$", before) or [title])[-1]
        above = before.strip().split("\n\n")[-1]
        yield title, "" if above.startswith("#") else above, kind, text


def walk(walked: Walk, folder: Path, picture: Path) -> None:
    """Walk through the tutorial."""
    session = walked.session
    for title, above, kind, text in steps():
        if title != walked.at:
            walked.begin(title)
        if above:
            session.tell(above)
        if kind == "yaml":
            (folder / "organism.yaml").write_text(text, encoding="utf-8")
            session.show(walked.type("cat organism.yaml"))
            continue
        lines = text.splitlines() if kind == "sh" else re.findall(r"(?m)^\$ (.+)$", text)
        shown: list[str] = []
        for line in lines:
            if line.startswith("organism daemon"):
                shown.append(start(walked, folder, line))
            else:
                shown.append(walked.type(line.replace("'organism-runtime[daemon]'", "-q '../organism[daemon]'")))
        session.show("\n".join(shown))
        if f"## {title}" == LAST:
            look(walked, re.sub(r"\s", "", shown[-1].partition("\n")[2]), picture)


def start(walked: Walk, folder: Path, line: str) -> str:
    """Start the daemon in the background, and wait until it is up."""
    began = time.monotonic()
    walked.session.terminal.run(line)
    while not daemon_is_up(folder):
        time.sleep(0.05)
    walked.took(line, time.monotonic() - began)
    return f"$ {line}"


def look(walked: Walk, link: str, picture: Path) -> None:
    """Open the dashboard, have it show something happen, and take its picture."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 980})
        began = time.monotonic()
        page.goto(link)
        page.locator("#connection.on").wait_for()
        walked.took("", time.monotonic() - began)
        walked.session.tell(LOOK)
        walked.session.show(walked.type(ASK))
        page.get_by_text("thread completed").first.wait_for()
        page.wait_for_timeout(5_500)  # until the sums by agent and over time have been asked for again
        page.screenshot(path=picture, animations="disabled")
        browser.close()


def main() -> int:
    """Record the walk, take the picture, and write it down."""
    page, picture = (Path(name) for name in sys.argv[1:3])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        home = Path(name)
        folder, sources = home / "newsroom", home / "organism"
        folder.mkdir()
        sources.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)  # noqa: S607
        subprocess.run(["tar", "-x", "-C", str(sources)], input=archive.stdout, check=True)  # noqa: S603, S607
        terminal = Terminal(folder, home, {"VIRTUAL_ENV_DISABLE_PROMPT": "1", "PIP_NO_CACHE_DIR": "1"})
        walked = Walk(Session(terminal, Steady(home)))
        try:
            walk(walked, folder, picture)
        finally:
            end_daemon(folder)
            terminal.close()
    shown = os.path.relpath(picture.resolve(), page.resolve().parent)
    version = ".".join(str(part) for part in sys.version_info[:3])
    ending = ["## How long it took", "", *walked.table(), "", f"![What the dashboard shows then]({shown})", ""]
    page.write_text("\n".join([BEFORE.format(version=version), "", *walked.session.text, *ending]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
