"""Everyone can use the dashboard: axe finds nothing in any view, in both schemes, on a desk and on a phone."""

from importlib.resources import files

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from tests.api.dashboard.conftest import Daemon

pytestmark = pytest.mark.debian

AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
VIEWS = [
    "overview",
    "overview?range=own&from=2026-03-02T10%3A00Z",
    "overview?range=own&from=never",
    "threads?state=all",
    "budgets",
    "agents",
    "approvals",
    "letters",
    "keys",
    "health",
    "send",
    "no",
    "api",
    "api/get/%2Fv1%2Fusage%2Freport",
    "api/post/%2Fv1%2Fthreads",
]
TABS = ("timeline", "messages?content=true", "children", "ledger", "replay")
VIOLATIONS = """async () => (await axe.run(document)).violations.flatMap((one) =>
  one.nodes.map((node) => `${one.id}: ${node.target} ${node.failureSummary}`))"""


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390)], ids=["light", "dark", "phone"]
)
def test_no_view_has_a_violation(daemon: Daemon, browser: Browser, scheme: str, width: int) -> None:
    """No view breaks a rule of axe, filled or empty, nor is wider than its screen."""
    thread = daemon.run("send", "go", "--to", "janitor")
    daemon.run("ask", "tides")
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # for axe's own script: the page's is held to it by the other tests
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(daemon.run("dashboard"))
    page.evaluate(AXE)
    found = {}
    for view in (*VIEWS, f"send/{thread}", *(f"threads/{thread}/{tab}" for tab in TABS)):
        page.goto(f"{page.url.partition('#')[0]}#/{view}")
        expect(page.locator("main h1").first).to_be_visible()
        expect(page.locator(".skeleton")).to_have_count(0)
        found[view] = page.evaluate(VIOLATIONS)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found[view].append("wider than the screen")
    assert {view: what for view, what in found.items() if what} == {}
    context.close()
    daemon.run("terminate", thread)


def test_page_is_painted_without_an_answer_of_the_api(daemon: Daemon, browser: Browser) -> None:
    """What is painted first waits only for the page's own files, each held to the policy against foreign code."""
    page = browser.new_page()
    asked: list[str] = []
    page.route("**/v1/**", lambda route: asked.append(route.request.url))
    page.goto(daemon.run("dashboard"))
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint').length") == 1
    loaded = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    page.close()
    assert asked
    for file in (one for one in loaded if "/dashboard/" in one):
        assert "script-src 'self'" in httpx2.get(file, timeout=60).headers["content-security-policy"]
