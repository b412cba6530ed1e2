"""The reference of the API in a real browser: every operation is read there, and tried as the viewer."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.dashboard.conftest import Daemon
from tests.api.dashboard.test_views import go

pytestmark = pytest.mark.debian

DOCUMENT = (
    """async () => (await (await import('/dashboard/lib/api.js')).exchange('GET', '/v1/schema/openapi.json')).json()"""
)


def operation(page: Page, method: str, path: str) -> None:
    page.get_by_role("navigation", name="Operations").get_by_role("link", name=f"{method} {path}", exact=True).click()
    expect(page.get_by_role("article")).to_contain_text(path)


def send(page: Page, status: int) -> str:
    page.get_by_role("button", name="Send", exact=True).press("Enter")
    expect(page.locator(f"section.answer[data-status='{status}']")).to_contain_text("characters")
    return page.get_by_label("Body of the answer").inner_text()


def test_every_operation_is_listed_with_what_it_takes_and_answers(page: Page) -> None:
    """What the daemon serves is there: its description, each parameter and field, its scope, each error."""
    go(page, "api")
    document = page.evaluate(DOCUMENT)
    links = page.get_by_role("navigation", name="Operations").get_by_role("link")
    operations = [(method, path, each) for path, of in document["paths"].items() for method, each in of.items()]
    expect(links).to_have_count(len(operations))
    for method, path, each in operations:
        page.goto(f"{page.url.partition('#')[0]}#/api/{method}/{path.replace('/', '%2F')}")
        article = page.get_by_role("article", name=f"{method.upper()} {path}", exact=True)
        expect(article).to_be_visible()
        text = article.inner_text()
        assert " ".join(each["description"].split())[:40].replace("`", "") in " ".join(text.split())
        for parameter in each.get("parameters", ()):
            assert parameter["name"] in text
        assert f"scope {each['x-scope']}" in text or "no token" in text
        article.locator("details", has_text="Errors of").evaluate("it => { it.open = true }")
        shown = article.inner_text()
        errors = [(status, answer) for status, answer in each["responses"].items() if status >= "4"]
        assert all(answer["description"].partition(": ")[0] in shown for _, answer in errors)


def test_operation_is_found_by_typing_and_tried_with_the_keyboard(daemon: Daemon, page: Page) -> None:
    """Search, choose, fill, send: the answer stands there as it came, and no token is shown."""
    daemon.run("ask", "tides")
    go(page, "api")
    expect(page.get_by_label("Search operations")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("report csv")
    expect(page.get_by_role("navigation", name="Operations").get_by_role("link")).to_have_count(1)
    operation(page, "GET", "/v1/usage/report")
    assert '"report": {\n    "period": {' in send(page, 200)
    page.get_by_label("format").select_option("csv")
    assert send(page, 200).startswith("by,name,cost_usd")
    page.get_by_role("textbox", name="since").fill("7d")
    page.get_by_text("As a command").click()
    command = page.get_by_label("Command").inner_text()
    assert command.endswith("/v1/usage/report?since=7d&format=csv'")
    assert "$(cat .organism/token)" in command
    with page.expect_download() as saved:
        page.get_by_role("textbox", name="since").fill("")
        send(page, 200)
        page.get_by_role("button", name="Save").click()
    assert saved.value.suggested_filename == "v1-usage-report.csv"
    assert saved.value.path().read_text().startswith("by,name,cost_usd")


def test_refusal_is_shown_as_the_daemon_says_it(daemon: Daemon, browser: Browser) -> None:
    """An error answer is an answer: its status and what to do stand there, and nothing of the page breaks."""
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(daemon.run("dashboard"))
    go(page, "api/get/%2Fv1%2Fusage%2Freport")
    page.get_by_role("textbox", name="since").fill("yesterday")
    assert "since: 'yesterday' is no instant" in send(page, 400)
    page.close()


def test_order_is_sent_after_a_question_and_large_numbers_keep_their_digits(daemon: Daemon, page: Page) -> None:
    """What has an effect is asked about first; nothing is sent where the answer is no."""
    go(page, "api")
    operation(page, "POST", "/v1/threads")
    page.get_by_label("Body, as JSON").fill('{"text": "go", "to": "sleeper", "thread_id": "tried"}')
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_role("button", name="Leave it").press("Enter")
    expect(page.locator("section.answer")).to_have_count(0)
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_role("button", name="Send it").click()
    expect(page.locator("section.answer[data-status='202']")).to_contain_text('"thread_id": "tried"')
    operation(page, "GET", "/v1/threads/{thread_id}")
    page.get_by_role("textbox", name="thread_id").fill("tried")
    shown = send(page, 200)
    opened = re.search(r'"opened_ns": (\d{19})', shown)
    assert opened is not None
    assert opened[1] in daemon.run("threads", "--json")
    daemon.run("terminate", "tried")


def test_stream_is_shown_as_it_comes_until_it_is_stopped(daemon: Daemon, page: Page) -> None:
    """Events that never end are followed in the page, and let go when the viewer has seen enough."""
    go(page, "api")
    operation(page, "GET", "/v1/events")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_label("Body of the answer")).to_contain_text(": listening")
    daemon.run("ask", "tides")
    expect(page.get_by_label("Body of the answer")).to_contain_text("event: UsageEvent")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("section.answer")).to_contain_text("characters")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_enabled()
