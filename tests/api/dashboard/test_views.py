"""The dashboard in a real browser, Debian's Chromium: used with a keyboard, and read as a screen reader would."""

import re
from random import Random

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from organism.amounts import format_usd
from tests.api.dashboard.conftest import Daemon

pytestmark = pytest.mark.debian


def go(page: Page, view: str) -> None:
    page.goto(f"{page.url.partition('#')[0]}#/{view}")
    expect(page.locator("main h1")).to_be_visible()


def test_link_opens_the_page_and_leaves_no_trace_of_the_session(page: Page) -> None:
    """The session is in no address, no storage and no cookie."""
    assert "#" not in page.url
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    expect(page.get_by_role("link", name="newsroom")).to_be_visible()
    expect(page.get_by_role("img", name="today usd: $0.00 of $5.00")).to_be_visible()


def test_money_is_written_as_commands_write_it(page: Page) -> None:
    """A cost has the same digits in the browser and in a terminal, so that figures can be compared and added."""
    chance = Random(1)
    amounts = [0, 3, 10, 999_999_999, 10**9, 1_234_567_890_123, *(chance.randrange(10 ** chance.randrange(1, 15))
               for _ in range(300))]  # fmt: skip
    script = "async (all) => { const f = await import('/dashboard/lib/format.js'); return all.map((n) => f.usd(n)); }"
    assert page.evaluate(script, amounts) == [format_usd(amount) for amount in amounts]
    script = script.replace("f.usd(n)", "f.usdAbout(n)")
    about = page.evaluate(script, amounts)
    assert about[:2] == ["$0.00", "$0.000000003"]
    assert about[5] == "$1,234.57"


def test_any_time_can_be_charted_and_stands_in_the_address(daemon: Daemon, page: Page) -> None:
    """An hour shows minutes; a time of one's own is chosen with the keyboard, checked, and there after a reload."""
    daemon.run("ask", "tides")
    page.get_by_role("button", name="1 hour", exact=True).click()
    expect(page).to_have_url(re.compile("range=hour"))
    script = (
        "async () => (await (await import('/dashboard/lib/api.js')).ask('/v1/usage/series', { since: '1h' })).step_s"
    )
    assert page.evaluate(script) == 60
    expect(page.locator(".chart svg")).to_be_visible()
    page.get_by_role("button", name="from … to").click()
    expect(page.get_by_role("form", name="Period")).to_contain_text("up to now")
    expect(page.locator(".chart svg")).to_be_visible()
    begin, end = page.get_by_label("from", exact=True), page.get_by_label("to", exact=True)
    begin.fill("2026-03-02T10:00")
    end.fill("2026-03-02T09:00")
    end.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("It ends before it begins.")
    expect(begin).to_have_attribute("aria-invalid", "true")
    end.fill("2026-03-05T09:00")
    end.press("Enter")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_text("Nothing in this time.")).to_be_visible()
    address = page.url
    assert re.search("from=2026-03-0[12]T", address)
    page.goto("about:blank")
    page.goto(daemon.run("dashboard"))
    page.evaluate("(hash) => { location.hash = hash; }", f"#{address.partition('#')[2]}")
    expect(begin).to_have_value("2026-03-02T10:00")
    expect(end).to_have_value("2026-03-05T09:00")
    page.evaluate("location.hash = '#/overview?range=own&from=soon'")
    expect(page.get_by_role("alert")).to_contain_text("Choose when it begins")


def test_what_is_typed_stays_while_the_list_is_looked_for(page: Page) -> None:
    """A search that begins when the typing pauses takes nothing back of what is typed after it began."""
    go(page, "threads?search=tenant")
    field = page.get_by_label("Search threads")
    expect(field).to_have_value("tenant")
    page.evaluate("""() => {
      const field = document.querySelector("#search");
      const type = (text) => { field.value = text; field.dispatchEvent(new InputEvent("input", { bubbles: true })); };
      type("");
      const more = () => type(`${field.value}h`);
      addEventListener("hashchange", () => { type("t"); setTimeout(more, 150); }, { once: true });
    }""")
    expect(page).to_have_url(re.compile("search=th$"))
    expect(field).to_have_value("th")
    page.evaluate("location.hash = '#/threads?search=elsewhere'")
    expect(field).to_have_value("elsewhere")


def test_views_have_addresses_that_survive_the_token_and_a_reload(daemon: Daemon, browser: Browser) -> None:
    """A link to a view leads there once the token is given; a session is in the tab's storage only if asked for."""
    page = browser.new_page()
    page.set_default_timeout(30_000)
    url = daemon.run("dashboard").partition("#")[0]
    page.goto(f"{url}#/threads?state=all&search=nothing")
    page.get_by_label("Token", exact=True).fill(daemon.run("token", "make", "visitor", "--scope", "operate"))
    page.get_by_label("stay open when this tab is loaded again").check()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Threads")).to_be_visible()
    expect(page.get_by_label("Search threads")).to_have_value("nothing")
    page.reload()
    expect(page.get_by_label("Search threads")).to_have_value("nothing")
    expect(page.get_by_text("No thread fits.")).to_be_visible()
    page.get_by_label("stay open on reload").uncheck()
    page.reload()
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    daemon.run("token", "revoke", "visitor")
    page.close()


def test_flow_of_a_thread_is_drawn_with_costs_and_its_text_stays_text(daemon: Daemon, page: Page) -> None:
    """Who wrote to whom is a picture and a list; what a model says never becomes part of the page."""
    daemon.run("ask", "tides")
    go(page, "threads?state=ended")
    page.get_by_role("link", name=re.compile("^th_")).first.click()
    expect(page.get_by_role("heading", name=re.compile("^th_"))).to_be_focused()
    page.get_by_role("link", name="Messages").click()
    expect(page.get_by_role("img", name="Sequence of 3 messages between user, planner, writer")).to_be_visible()
    expect(page.locator("#flow-list li")).to_have_count(3)
    expect(page.locator("#flow-list li").nth(1)).to_contain_text("planner to writer: Text, $0.0")
    page.get_by_label("show what messages say").check()
    expect(page.locator("#flow-list blockquote").last).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#main img").count() == 0


def test_threads_are_raised_paused_and_ended_with_the_keyboard_after_a_question(daemon: Daemon, page: Page) -> None:
    """Every order is asked about first, with the harmless answer in focus, and what came of it is announced."""
    thread = daemon.run("send", "go", "--to", "sleeper")
    page.keyboard.press("g")
    page.keyboard.press("t")
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
    expect(row.get_by_role("button", name="resume").first).to_be_visible()

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
    go(page, "threads")
    row = page.get_by_role("row", name=thread)
    expect(row).to_contain_text("waits for a person")
    expect(row.get_by_role("button", name=f"{verb} delete_files of janitor")).to_be_visible()
    page.get_by_role("link", name="Approvals").click()
    asked = page.get_by_role("listitem").filter(has_text=thread)
    expect(asked).to_contain_text("janitor asks for delete_files")
    expect(asked.locator("pre")).to_have_text("a.txt, <b>b.txt</b>")
    asked.get_by_role("button", name=f"{verb} delete_files of janitor").press("Enter")
    expect(page.get_by_role("button", name="Leave it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(asked).to_be_visible()
    asked.get_by_role("button", name=f"{verb} delete_files of janitor").press("Enter")
    page.get_by_label("Why, for the agent").fill("it is time")
    page.get_by_role("button", name=f"{verb.title()} it").press("Enter")
    expect(page.get_by_role("status").filter(has_text="delete_files of janitor")).to_be_visible()
    expect(asked).to_have_count(0)
    go(page, f"threads/{thread}/messages?content=true")
    expect(page.locator("#flow-list blockquote").last).to_have_text(f"{outcome} because it is time")


def test_flow_of_a_thread_is_shown_after_a_restart(daemon: Daemon, browser: Browser) -> None:
    """What was spent before the daemon was killed is in the picture when it is started again."""
    thread = daemon.run("send", "go", "--to", "janitor")
    daemon.run("approvals")
    daemon.kill()
    daemon.start()
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(daemon.run("dashboard"))
    expect(page.locator("#connection.on")).to_be_visible()
    go(page, f"threads/{thread}/messages")
    earlier = page.locator("#flow-list li").filter(has_text="before the daemon was started anew")
    expect(earlier).to_contain_text("janitor, before the daemon was started anew, $0.0")
    expect(page.get_by_role("img", name="Sequence of 2 messages between user, janitor")).to_be_visible()
    daemon.run("terminate", thread)
    page.close()


def test_usage_appears_while_it_happens(daemon: Daemon, page: Page) -> None:
    """Events show up by themselves, and the sums by agent and model with them."""
    expect(page.get_by_role("status").filter(has_text="live")).to_be_visible()
    daemon.run("ask", "bridges")
    expect(page.locator("#live li").filter(has_text="writer used").first).to_be_visible()
    expect(page.locator("#agents li").filter(has_text="planner")).to_contain_text("calls")
    expect(page.locator("#models li").filter(has_text="main")).to_contain_text("tokens")


def test_spending_is_frozen_and_goes_on_after_a_question(page: Page) -> None:
    """The one button that stops all spending is on the first page, and what is frozen says by whom and why."""
    page.get_by_role("button", name="freeze all spending").press("Enter")
    page.get_by_label("Why, for those who are refused").fill("a leak")
    page.get_by_role("button", name="Freeze it").press("Enter")
    notice = page.locator(".notice").filter(has_text="Spending of everything is frozen")
    expect(notice).to_contain_text("a leak")
    notice.get_by_role("button", name="unfreeze everything").press("Enter")
    page.get_by_role("button", name="Unfreeze it").press("Enter")
    expect(notice).to_have_count(0)


def test_task_is_sent_and_followed_to_its_answer(page: Page) -> None:
    """A task is written, sent with a label and a limit, and the answer appears under it by itself."""
    page.keyboard.press("n")
    page.get_by_label("Task", exact=True).fill("Write about locks")
    page.get_by_text("For whom, with which labels and limits").click()
    page.get_by_label("Labels").fill("tenant=acme")
    page.get_by_label("Calls", exact=True).fill("2")
    page.get_by_role("button", name="Send it").click()
    expect(page.locator(".bubbles .mine blockquote")).to_have_text("Write about locks")
    expect(page.locator(".bubbles .answer blockquote").last).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.get_by_role("img", name="2 of 2 calls")).to_be_visible()
    page.get_by_role("link", name="Open the thread").click()
    expect(page.locator(".facts")).to_contain_text("tenant=acme")


def test_thread_shows_where_its_budget_went_and_what_another_limit_had_done(daemon: Daemon, page: Page) -> None:
    """Each call has its place in time and the ledger its holds; another limit decides the same calls anew, for show."""
    daemon.run("ask", "canals")
    go(page, "threads?state=ended")
    page.get_by_role("link", name=re.compile("^th_")).first.click()
    calls = page.locator(".waterfall .kind-call")
    expect(calls).to_have_count(2)
    expect(calls.first).to_contain_text("planner")
    expect(calls.first).to_contain_text("tokens")
    levels = page.locator(".waterfall li").evaluate_all("all => all.map((one) => one.ariaLevel)")
    assert levels.count("2") >= 2, "the planner's call, and what it has sent on"
    assert "3" in levels, "the writer's call, under that"
    opening = page.get_by_role("button", name=re.compile("^what .* to planner.* has led to$"))
    opening.press("Enter")
    expect(calls).to_have_count(0)
    expect(opening).to_have_attribute("aria-expanded", "false")
    page.get_by_role("button", name="list", exact=True).click()
    expect(page).to_have_url(re.compile("form=list"))
    expect(calls).to_have_count(2)
    page.get_by_role("link", name="Ledger").click()
    expect(page.get_by_role("row").filter(has_text="planner")).to_contain_text("settled")
    page.get_by_role("link", name="What if").click()
    page.get_by_label("Calls", exact=True).fill("1")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status").filter(has_text="at call 2 of writer")).to_be_visible()


def test_agents_are_a_graph_and_can_be_paused(daemon: Daemon, page: Page) -> None:
    """Every agent is a box that leads to its threads, each line says how much has gone over it, a row says the same."""
    go(page, "agents")
    node = page.get_by_role("link", name=re.compile("^planner: "))
    expect(node.first).to_be_visible()
    before = sum(int((edge.text_content() or "").split()[0]) for edge in page.locator(".flowed").all())
    daemon.run("ask", "locks")
    expect(page.locator(".flowed")).to_have_text(re.compile(rf"^{before + 1} · \d+/min$"))
    expect(node).to_have_attribute("aria-label", re.compile(", [1-9][0-9]* messages from users, 0 to users$"))
    expect(page.get_by_role("row", name=re.compile("^planner "))).to_contain_text(f"writer {before + 1} · ")
    row = page.get_by_role("row", name=re.compile("^writer "))
    row.get_by_role("button", name="pause writer").press("Enter")
    page.get_by_role("button", name="Pause it", exact=True).press("Enter")
    expect(row).to_contain_text("paused")
    row.get_by_role("button", name="let it go on writer").press("Enter")
    page.get_by_role("button", name="Let it", exact=True).press("Enter")
    expect(row).to_contain_text("running")


def test_dead_letters_are_sent_again_or_discarded(daemon: Daemon, page: Page) -> None:
    """A message that failed says where in the code; it is sent again, or forgotten, after a question."""
    daemon.run("send", "go", "--to", "clumsy")
    go(page, "letters")
    letter = page.locator(".asked li").filter(has_text="clumsy")
    expect(letter).to_contain_text("desk.py:")
    retry = letter.get_by_role("button", name="retry")
    first = retry.get_attribute("aria-label") or ""
    retry.press("Enter")
    page.get_by_role("button", name="Send it").press("Enter")
    expect(page.get_by_role("status").filter(has_text="sent again in th_")).to_be_visible()
    # It fails once more as another letter. Until that is shown, what is there to be discarded is gone already.
    expect(letter.get_by_role("button", name=first)).to_have_count(0)
    expect(letter).to_have_count(1)
    letter.get_by_role("button", name="discard").press("Enter")
    page.get_by_role("button", name="Forget it").press("Enter")
    expect(letter).to_have_count(0)


def test_budget_gets_other_limits_where_it_is_shown(daemon: Daemon, page: Page) -> None:
    """Every scope has a row, named by what it is counted over, with its mode's word and the way to raise it."""
    daemon.run("ask", "dunes")
    go(page, "budgets")
    row = page.get_by_role("row").filter(has_text="today")
    expect(row).to_contain_text("of $5.00")
    row.get_by_role("button", name=re.compile("^set limits")).press("Enter")
    expect(page.get_by_label("Dollars", exact=True)).to_have_value("5")
    page.get_by_label("Dollars", exact=True).fill("7.5")
    page.get_by_role("button", name="Set them").press("Enter")
    expect(row).to_contain_text("of $7.50")
    expect(page.get_by_role("dialog")).to_have_count(0)  # the row may know of it before the order's answer has come
    row.get_by_role("button", name=re.compile("^set limits")).press("Enter")
    page.get_by_label("Dollars", exact=True).fill("5")
    page.get_by_role("button", name="Set them").press("Enter")
    expect(row).to_contain_text("of $5.00")


def test_budget_that_was_granted_for_a_while_says_until_when(daemon: Daemon, page: Page) -> None:
    """It is part of the limit, and goes back: list, thread and command line say how much, and when."""
    thread = daemon.run("send", "go", "--to", "eager")
    go(page, "approvals")
    expect(page.get_by_role("listitem").filter(has_text=thread)).to_contain_text("More budget: 500 tokens")
    asked = next(line.split()[0] for line in daemon.run("approvals").splitlines() if thread in line)
    daemon.run("approvals", "allow", asked, "--seconds", "86400")
    for view in ("budgets?kind=thread", f"threads/{thread}"):
        go(page, view)
        expect(page.get_by_text("500 tokens granted until")).to_contain_text("what is left goes back in 23 h")
    assert "500 tokens of it granted until" in daemon.run("budget", "show", thread)
    daemon.run("terminate", thread)


def test_token_is_exchanged_and_a_wrong_one_is_refused(daemon: Daemon, browser: Browser) -> None:
    """Without a session the page asks for a token, and shows nothing until it has a good one."""
    url = daemon.run("dashboard").partition("#")[0]
    page = browser.new_page()
    page.goto(url)
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    expect(page.locator("#main")).to_have_count(0)
    page.get_by_label("Token", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That is no valid token.")
    page.get_by_label("Token", exact=True).fill(daemon.run("token", "make", "eye", "--scope", "operate"))
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_visible()
    expect(page.locator("#token")).to_have_count(0)
    daemon.run("token", "revoke", "eye")
    expect(page.get_by_label("Token", exact=True)).to_be_visible(timeout=20_000)
    page.close()


def test_key_is_made_limited_seen_once_and_revoked(daemon: Daemon, page: Page) -> None:
    """A program gets its key here: with a limit, its secret shown once, taken back when it is time."""
    url = page.url
    go(page, "keys")
    page.get_by_label("Name", exact=True).fill("build")
    page.get_by_label("Dollars", exact=True).fill("2.50")
    page.get_by_label("Tokens", exact=True).fill("5000")
    page.get_by_label("Days", exact=True).fill("30")
    page.get_by_role("button", name="Make it").click()

    shown = page.get_by_label("the secret")
    expect(shown).to_be_focused()
    secret = shown.inner_text()
    me = {"authorization": f"Bearer {secret}"}
    assert httpx2.get(f"{url}v1/tokens", headers=me, timeout=60).status_code == 403
    row = page.get_by_role("row", name="build send")
    expect(row).to_contain_text("5,000 tokens")
    expect(row).to_contain_text("$2.50")
    page.get_by_role("button", name="I have it").click()
    expect(shown).to_have_count(0)
    assert secret not in page.content()
    assert secret not in daemon.run("token", "list", "--json")

    page.get_by_role("button", name="limit build").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Tokens", exact=True)).to_have_value("5000")
    dialog.get_by_label("Dollars", exact=True).fill("7")
    page.get_by_role("button", name="Limit it").click()
    expect(row).to_contain_text("$7.00")
    assert "build: send; each thread at most 5,000 tokens, $7" in daemon.run("token", "list")

    page.get_by_role("button", name="revoke build").click()
    page.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_role("status").filter(has_text="build revoked")).to_be_visible()
    expect(row).to_have_count(0)
    # 429 where other tests have shown this daemon five bad tokens within the minute: a bad one waits then.
    assert httpx2.get(f"{url}v1/threads", headers=me, timeout=60).status_code in {401, 429}


def test_view_of_keys_without_admin_says_what_it_takes(daemon: Daemon, browser: Browser) -> None:
    """A session that may only read shows no keys and no way to make one."""
    secret = daemon.run("token", "make", "reader", "--scope", "read")
    opened = browser.new_page()
    opened.set_default_timeout(30_000)
    opened.goto(f"{daemon.run('dashboard').partition('#')[0]}#/keys")
    opened.get_by_label("Token", exact=True).fill(secret)
    opened.get_by_role("button", name="Open", exact=True).click()
    expect(opened.locator("#connection.on")).to_be_visible()
    expect(opened.get_by_text("takes a token with the scope admin")).to_be_visible()
    expect(opened.get_by_role("button", name="Make it")).to_have_count(0)
    opened.close()
