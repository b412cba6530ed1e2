"""The dashboard in a real browser, Debian's Chromium: used with a keyboard, and read as a screen reader would."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

pytestmark = pytest.mark.debian

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
        return subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=True).stdout.strip()


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
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.set_default_timeout(20_000)
    opened.goto(daemon.run("dashboard"))
    expect(opened.locator("#main")).to_be_visible()
    yield opened
    opened.close()
    assert complaints == []


def test_link_opens_the_page_and_leaves_no_trace_of_the_session(page: Page) -> None:
    """The session is in no address, no storage and no cookie."""
    assert "#" not in page.url
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    expect(page.get_by_role("heading", name="newsroom")).to_be_visible()
    expect(page.get_by_role("img", name="today usd: $0.00 of $5.00")).to_be_visible()


def test_flow_of_a_thread_is_drawn_with_costs_and_its_text_stays_text(daemon: Daemon, page: Page) -> None:
    """Who wrote to whom is a picture and a list; what a model says never becomes part of the page."""
    daemon.run("ask", "tides")
    page.get_by_label("show ended ones").check()
    page.get_by_role("button", name="show th_").first.click()
    expect(page.locator("#thread-title")).to_be_focused()
    expect(page.get_by_role("img", name="Sequence of 3 messages between user, planner, writer")).to_be_visible()
    page.get_by_text("The same as a list").click()
    expect(page.locator("#flow-list li")).to_have_count(3)
    expect(page.locator("#flow-list li").nth(1)).to_contain_text("planner to writer: Text, $0.0")
    page.get_by_label("show what messages say").check()
    expect(page.locator("#flow-list blockquote").last).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#main img").count() == 0


def test_threads_are_raised_paused_and_ended_with_the_keyboard_after_a_question(daemon: Daemon, page: Page) -> None:
    """Every order is asked about first, with the harmless answer in focus, and what came of it is announced."""
    thread = daemon.run("send", "go", "--to", "sleeper")
    row = page.get_by_role("row", name=thread)
    expect(row).to_contain_text("1 of 3 calls")

    row.get_by_role("button", name="end").press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row).to_be_visible()

    row.get_by_role("button", name="raise 25 %").press("Enter")
    page.get_by_role("button", name="Raise it").press("Enter")
    expect(page.get_by_role("status").filter(has_text="raised")).to_be_visible()
    expect(row).to_contain_text("of 4 calls")

    row.get_by_role("button", name="pause").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="pause").press("Enter")
    expect(row).to_contain_text("paused")
    expect(row.get_by_role("button", name="resume")).to_be_visible()

    row.get_by_role("button", name="end").press("Enter")
    page.get_by_role("button", name="End it").press("Enter")
    expect(row).to_have_count(0)
    assert "terminated" in daemon.run("thread", thread)


@pytest.mark.parametrize(("verb", "outcome"), [("allow", "allowed=True"), ("deny", "allowed=False")])
def test_what_people_are_asked_is_shown_and_answered_after_a_question(
    daemon: Daemon, page: Page, verb: str, outcome: str
) -> None:
    """The list shows exactly what is asked, as text; the answer carries a note, and its message goes on."""
    thread = daemon.run("send", "go", "--to", "janitor")
    asked = page.get_by_role("region", name="Waiting for a person")
    expect(asked).to_contain_text("janitor asks for delete_files")
    expect(page.get_by_role("row", name=thread)).to_contain_text("waits for a person")
    expect(asked.locator("pre")).to_have_text("a.txt, <b>b.txt</b>")
    asked.get_by_role("button", name=f"{verb} delete_files of janitor").press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(asked).to_be_visible()
    asked.get_by_role("button", name=f"{verb} delete_files of janitor").press("Enter")
    page.get_by_label("Why, for the agent").fill("it is time")
    page.get_by_role("button", name=f"{verb.title()} it").press("Enter")
    expect(page.get_by_role("status").filter(has_text="delete_files of janitor")).to_be_visible()
    expect(asked).to_be_hidden()
    page.get_by_label("show ended ones").check()
    page.get_by_role("button", name=f"show {thread}").click()
    page.get_by_label("show what messages say").check()
    page.get_by_text("The same as a list").click()
    expect(page.locator("#flow-list blockquote").last).to_have_text(f"{outcome} because it is time")


def test_flow_of_a_thread_is_shown_after_a_restart(daemon: Daemon, browser: Browser) -> None:
    """What was spent before the daemon was killed is in the picture when it is started again."""
    thread = daemon.run("send", "go", "--to", "janitor")
    daemon.run("approvals")
    daemon.kill()
    daemon.start()
    page = browser.new_page()
    page.set_default_timeout(20_000)
    page.goto(daemon.run("dashboard"))
    page.get_by_role("button", name=f"show {thread}").first.click()
    page.get_by_text("The same as a list").click()
    earlier = page.locator("#flow-list li").filter(has_text="before the daemon was started anew")
    expect(earlier).to_contain_text("janitor, before the daemon was started anew, $0.0")
    expect(page.get_by_role("img", name="Sequence of 2 messages between user, janitor")).to_be_visible()
    daemon.run("terminate", thread)
    page.close()


def test_usage_appears_while_it_happens(daemon: Daemon, page: Page) -> None:
    """Events show up by themselves, and the charts by agent and model with them."""
    expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
    daemon.run("ask", "bridges")
    expect(page.locator("#live li").filter(has_text="writer used").first).to_be_visible()
    expect(page.locator("#agents li").filter(has_text="planner")).to_contain_text("calls")
    expect(page.locator("#models li").filter(has_text="main")).to_contain_text("tokens")


def test_token_is_exchanged_and_a_wrong_one_is_refused(daemon: Daemon, browser: Browser) -> None:
    """Without a session the page asks for a token, and shows nothing until it has a good one."""
    url = daemon.run("dashboard").partition("#")[0]
    page = browser.new_page()
    page.goto(url)
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    expect(page.locator("#main")).to_be_hidden()
    page.get_by_label("Token", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is no valid token.")
    page.get_by_label("Token", exact=True).fill(daemon.run("token", "make", "eye", "--scope", "operate"))
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_visible()
    assert page.input_value("#token") == ""
    daemon.run("token", "revoke", "eye")
    expect(page.get_by_label("Token", exact=True)).to_be_visible(timeout=20_000)
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(daemon: Daemon, browser: Browser, scheme: str) -> None:
    """Text has at least 4.5:1 against what is behind it."""
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(daemon.run("dashboard"))
    expect(page.locator("#main")).to_be_visible()
    ratios = page.evaluate(CONTRAST)
    assert len(ratios) > 10
    assert [(text, ratio) for text, ratio in ratios if ratio < 4.5] == []
    page.close()


CONTRAST = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("h1, h2, p, th, td, dt, dd, button, label, span, time")]
    .filter((node) => node.checkVisibility() && node.textContent.trim())
    .map((node) => {
      const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
      return [node.textContent.trim().slice(0, 30), (a + 0.05) / (b + 0.05)];
    });
}"""


def test_page_needs_nothing_from_elsewhere_and_holds_no_secret(daemon: Daemon) -> None:
    """What is given out without a token is the same for everybody and names no other host."""
    url = daemon.run("dashboard").partition("/#")[0]
    for path in ("/", "/dashboard/main.js", "/dashboard/api.js", "/dashboard/draw.js", "/dashboard/style.css"):
        answer = httpx2.get(url + path)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "https://" not in answer.text
        assert "unsafe" not in answer.headers["content-security-policy"]
    for path in ("/dashboard/", "/dashboard/../tokens.json", "/dashboard/%2e%2e/tokens.json", "/dashboard/nope.js"):
        assert httpx2.get(url + path).status_code in (401, 429)
    assert httpx2.get(url, headers={"host": "evil.example"}).status_code == 421


def test_key_is_made_limited_seen_once_and_revoked(daemon: Daemon, page: Page) -> None:
    """A program gets its key here: with a limit, its secret shown once, taken back when it is time."""
    page.get_by_label("Name", exact=True).fill("build")
    page.get_by_label("Dollars", exact=True).fill("2.50")
    page.get_by_label("Tokens", exact=True).fill("5000")
    page.get_by_label("Days", exact=True).fill("30")
    page.get_by_role("button", name="Make it").click()

    shown = page.get_by_label("the secret")
    expect(shown).to_be_focused()
    secret = shown.inner_text()
    url = page.url
    me = {"authorization": f"Bearer {secret}"}
    assert httpx2.get(f"{url}v1/tokens", headers=me).status_code == 403
    row = page.get_by_role("row", name="build send")
    expect(row).to_contain_text("5,000 tokens, $2.50")
    if shots := os.environ.get("SHOTS"):
        page.screenshot(path=f"{shots}/keys.png", full_page=True)
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_role("heading", name="Keys and tokens")).to_be_focused()
    assert secret not in page.content()
    assert secret not in daemon.run("token", "list", "--json")

    page.get_by_role("button", name="limit build").click()
    expect(page.get_by_label("Tokens", exact=True)).to_have_value("5000")
    page.get_by_label("Dollars", exact=True).fill("7")
    page.get_by_role("button", name="Limit it").click()
    expect(row).to_contain_text("5,000 tokens, $7.00")
    assert "build: send; each thread at most 5,000 tokens, $7" in daemon.run("token", "list")

    page.get_by_role("button", name="revoke build").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_role("status").filter(has_text="build revoked")).to_be_visible()
    expect(row).to_have_count(0)
    # 429 where other tests have shown this daemon five bad tokens within the minute: a bad one waits then.
    assert httpx2.get(f"{url}v1/threads", headers=me).status_code in {401, 429}


def test_page_of_whoever_may_not_make_keys_has_none(daemon: Daemon, browser: Browser) -> None:
    """A session that may only read shows no keys and no way to make one."""
    secret = daemon.run("token", "make", "reader", "--scope", "read")
    opened = browser.new_page()
    opened.set_default_timeout(20_000)
    opened.goto(daemon.run("dashboard").partition("#")[0])
    opened.get_by_label("Token", exact=True).fill(secret)
    opened.get_by_role("button", name="Open", exact=True).click()
    expect(opened.locator("#main")).to_be_visible()
    expect(opened.locator("#connection")).to_have_text("live")
    expect(opened.locator("#keys")).to_be_hidden()
    opened.close()
