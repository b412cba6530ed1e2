"""Bills are fetched over real HTTP as the vendors give them: page by page, with an admin key, or with what to do."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from organism import ConfigError
from organism.amounts import TokenUsage
from organism.billing.bill import read_bill
from organism.billing.bill_fetch import fetch_bill
from organism.billing.bill_requests import BillQuestion, BillVendor
from organism.cli.app import call
from organism.stores.sqlite import SqliteJournal
from tests.cli.test_event_sources import work

KEY = "admin-key-of-the-tests-0123456789"
FIRST = date(2026, 9, 1)
COUNTING = (
    "/v1/organization/usage/completions",
    "/v1/organization/usage/embeddings",
    "/v1/organizations/usage_report/messages",
)
Answer = tuple[int, dict[str, str], bytes]


class Vendor:
    """OpenAI's and Anthropic's interfaces of costs, on loopback: a dollar and a half for each day that is asked for.

    Attributes:
        asked: The queries that came.
        instead: Answers that are given before any other.
        refuses: The status of every report of what was counted, if there is to be none.
        days: How many days are counted.
    """

    def __init__(self) -> None:
        self.asked: list[dict[str, list[str]]] = []
        self.instead: list[Answer] = []
        self.refuses: int | None = None
        self.days = 1
        self.answer: Callable[[dict[str, list[str]]], Any] = lambda _query: None

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805
                status, headers, body = self.respond(handler.path, dict(handler.headers.items()))
                handler.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(handler, *_: object) -> None:  # noqa: N805
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def respond(self, path: str, headers: dict[str, str]) -> Answer:
        query = parse_qs(urlsplit(path).query)
        self.asked.append(query)
        if self.instead:
            return self.instead.pop(0)
        headers = {name.lower(): value for name, value in headers.items()}
        match urlsplit(path).path:
            case "/v1/organization/costs" if headers.get("authorization") == f"Bearer {KEY}":
                return 200, {}, json.dumps(self.openai(query), indent=2).encode()
            case "/v1/organizations/cost_report" if headers.get("x-api-key") == KEY and "anthropic-version" in headers:
                return 200, {}, json.dumps(self.anthropic(query)).encode()
            case counting if counting in COUNTING:
                if self.refuses is not None:
                    return self.refuses, {}, b"{}"
                return 200, {}, json.dumps(self.counts(counting, query)).encode()
        return 401, {}, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()

    def counts(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """Count 10 tokens of input, 2 of them from a cache and 3 written to one, and 5 of output for each day."""
        assert query["group_by" if "organization/" in path else "group_by[]"] == ["model"]
        days = int(query["limit"][0])
        assert days <= 31
        page = int(query.get("page", ["0"])[0])
        result: dict[str, Any] = {"input_tokens": 7, "num_model_requests": 1}
        if "completions" in path:
            result = {"input_tokens": 10, "input_cached_tokens": 2, "input_cache_write_tokens": 3, "output_tokens": 5}
        elif "messages" in path:
            written = {"ephemeral_1h_input_tokens": 1, "ephemeral_5m_input_tokens": 2}
            result = {"uncached_input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation": written}
            result["output_tokens"] = 5
        start = FIRST + timedelta(page)
        starts = [f"{start + timedelta(day)}T00:00:00Z" for day in range(days)]
        name = "embed" if "embeddings" in path else "m"
        data = [{"starting_at": each, "results": [{**result, "model": name}]} for each in starts]
        return {"data": data, "has_more": page + days < self.days, "next_page": f"{page + days}"}

    def openai(self, query: dict[str, list[str]]) -> dict[str, Any]:
        assert query["group_by"] == ["line_item"]
        first, end, limit = (int(query[name][0]) for name in ("start_time", "end_time", "limit"))
        begin = int(query.get("page", [str(first)])[0].removeprefix("page_"))
        starts = range(begin, min(end, begin + min(limit, 180) * 86_400), 86_400)
        items = [("m, input", 0.5), ("m, output", 1.0)]
        data = [
            {
                "object": "bucket",
                "start_time": start,
                "end_time": start + 86_400,
                "results": [{"amount": {"value": usd, "currency": "usd"}, "line_item": item} for item, usd in items],
            }
            for start in starts
        ]
        following = starts.stop if starts.stop < end else None
        return {
            "object": "page",
            "data": data,
            "has_more": following is not None,
            "next_page": following and f"page_{following}",
        }

    def anthropic(self, query: dict[str, list[str]]) -> dict[str, Any]:
        assert query["group_by[]"] == ["description"]
        first, end = (datetime.fromisoformat(query[name][0]) for name in ("starting_at", "ending_at"))
        begin = datetime.fromisoformat(query["page"][0]) if "page" in query else first
        days = min(int(query["limit"][0]), 31, (end - begin).days)
        data = [
            {
                "starting_at": f"{begin + timedelta(day):%Y-%m-%dT00:00:00Z}",
                "ending_at": f"{begin + timedelta(day + 1):%Y-%m-%dT00:00:00Z}",
                "results": [
                    {"currency": "USD", "amount": amount, "model": "m", "cost_type": "tokens", "description": "m"}
                    for amount in ("50.0", "100.00")
                ],
            }
            for day in range(days)
        ]
        following = begin + timedelta(days)
        more = following < end
        return {"data": data, "has_more": more, "next_page": following.isoformat() if more else None}


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    found = Vendor()
    yield found
    found.server.shutdown()
    found.server.server_close()


def question(vendor: Vendor, whom: BillVendor, days: int = 1) -> BillQuestion:
    return BillQuestion(vendor=whom, first=FIRST, end=FIRST + timedelta(days), base_url=vendor.url)


def fetched(
    vendor: Vendor,
    whom: BillVendor,
    days: int = 1,
    waited: list[float] | None = None,
    said: list[str] | None = None,
) -> str:
    waited, said = [] if waited is None else waited, [] if said is None else said
    return fetch_bill(question(vendor, whom, days), KEY, "THE_KEY", said.append, waited.append)


@pytest.mark.parametrize(("whom", "days", "pages"), [("openai", 400, 3), ("openai", 180, 1), ("anthropic", 70, 3)])
def test_all_days_are_fetched_whatever_a_page_holds(vendor: Vendor, whom: BillVendor, days: int, pages: int) -> None:
    """Each day of a long period is there once, to the cent, in the vendor's own unit; each page is asked for once."""
    vendor.refuses = 403
    said: list[str] = []
    lines = read_bill(fetched(vendor, whom, days, said=said))
    assert len(vendor.asked) == pages + len(said)
    assert all("does not tell what it has counted (403 for /v1/organization" in each for each in said)
    assert len(lines) == 2 * days
    assert {line.day for line in lines} == {FIRST + timedelta(day) for day in range(days)}
    assert sum(line.cost_nanousd or 0 for line in lines) == days * 1_500_000_000
    assert {line.model for line in lines} == {"m"}
    assert {line.zone for line in lines} == {UTC}


@pytest.mark.parametrize("whom", ["openai", "anthropic"])
def test_what_was_counted_is_fetched_beside_the_costs(vendor: Vendor, whom: BillVendor) -> None:
    """Of each day and model the tokens come in the same buckets as in the ledger, whatever the vendor's input has."""
    vendor.days = 62
    counted = {}
    for line in read_bill(fetched(vendor, whom, vendor.days)):
        if line.counted is not None:
            assert line.cost_nanousd is None
            counted[line.day, line.model] = line.counted
    days = {FIRST + timedelta(day) for day in range(vendor.days)}
    assert {day: counted.get((day, "m")) for day in days} == dict.fromkeys(days, TokenUsage(5, 2, 3, 5))
    embedded = {day for day in days if counted.get((day, "embed")) == TokenUsage(7)}
    assert embedded == (days if whom == "openai" else set())


def test_counting_report_that_breaks_is_no_bill_without_it(vendor: Vendor) -> None:
    """What may go better the next time is said, and not left out."""
    vendor.refuses = 500
    with pytest.raises(ConfigError, match="it fails at the moment"):
        fetched(vendor, "openai")


SAYS = [
    (401, "it does not know the key in THE_KEY; make an admin key at"),
    (403, "the key in THE_KEY may not read costs"),
    (404, "for organizations"),
    (429, "asked too often"),
    (500, "it fails at the moment"),
    (529, "it fails at the moment"),
    (302, "export the costs in its console"),
    (418, "export the costs in its console"),
]


@pytest.mark.parametrize(("status", "words"), SAYS)
@pytest.mark.parametrize("whom", ["openai", "anthropic"])
def test_refusal_says_what_to_do_and_no_secret(vendor: Vendor, whom: BillVendor, status: int, words: str) -> None:
    """Each no of a vendor names the remedy and the vendor's own words, without the key that they repeat."""
    said = json.dumps({"error": {"type": "x", "message": f"no, {KEY}\x1b[2J is\nnot it"}}).encode()
    vendor.instead = [(status, {"location": f"{vendor.url}/elsewhere"}, said)] * 4
    with pytest.raises(ConfigError) as caught:
        fetched(vendor, whom)
    assert f"gives no bill ({status}): " in str(caught.value)
    assert words in str(caught.value)
    assert "It says: no, ***" in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(vendor.asked) == (4 if status in (429, 500, 529) else 1)


def test_busy_vendor_is_asked_again_when_it_says(vendor: Vendor) -> None:
    """What passes is waited for, as long as the vendor says and no longer than a minute; then the bill is whole."""
    waited: list[float] = []
    vendor.instead = [(429, {"retry-after": "7"}, b""), (503, {"retry-after": "9999"}, b""), (500, {}, b"<html>")]
    assert len(read_bill(fetched(vendor, "openai", 1, waited))) == 4
    assert waited == [7.0, 60.0, 6.0]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"data": 1}', b"\xff", b"[" * 100_000])
def test_answer_that_is_no_bill_is_said_to_be_none(vendor: Vendor, body: bytes) -> None:
    """A captive portal, a proxy's page: nothing is taken for a bill of nothing."""
    vendor.instead = [(200, {}, body)]
    with pytest.raises(ConfigError, match="something that is no bill"):
        fetched(vendor, "openai")


def test_pages_that_go_round_end(vendor: Vendor) -> None:
    """A vendor that names the same next page for ever does not keep the command for ever."""
    again = json.dumps({"data": [], "has_more": True, "next_page": "same"}).encode()
    vendor.instead = [(200, {}, again)] * 10
    with pytest.raises(ConfigError, match="on and on"):
        fetched(vendor, "anthropic")
    assert len(vendor.asked) == 2


def test_vendor_that_cannot_be_reached_is_named(vendor: Vendor) -> None:
    """No network is an error of one line."""
    vendor.server.shutdown()
    vendor.server.server_close()
    with pytest.raises(ConfigError, match="OpenAI cannot be reached for its bill"):
        fetched(vendor, "openai")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an organism that has worked and ended."""
    (tmp_path / ".organism").mkdir(mode=0o700)
    anyio.run(work, SqliteJournal(tmp_path / ".organism" / "journal.db"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def reported(*words: str) -> int:
    return call(["usage", "report", "--json", *words])


@pytest.mark.parametrize("whom", ["openai", "anthropic"])
def test_report_compares_with_the_fetched_bill(
    vendor: Vendor, state: Path, whom: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The admin key comes from .env or the environment, days that are not over are not asked for, and drift is said."""
    (state / ".env").write_text(f"{whom.upper()}_ADMIN_KEY={KEY}\n")
    (state / ".env").chmod(0o600)
    vendor.days = 10
    assert reported("--since", "2026-09-01", "--until", "2026-09-10", "--bill-of", whom, "--bill-url", vendor.url) == 0
    drift = json.loads(capsys.readouterr().out)["drift"]
    assert [line["billed_nanousd"] for line in drift if line["model"] == "m"] == [1_500_000_000] * 10
    assert {line["model"] for line in drift} == ({"m", "embed"} if whom == "openai" else {"m"})
    assert {line["difference_tokens"] for line in drift if line["model"] == "m"} == {-15}
    assert "billed more than recorded" in drift[-1]["reason"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--bill-of", "openai"], "no whole day"),
        (["--bill-of", "openai", "--since", "2026-09-01"], "OPENAI_ADMIN_KEY is not set; make an admin key at"),
        (["--bill-of", "anthropic", "--since", "2026-09-01", "--admin-key", "${env:MINE}"], "variable MINE is not set"),
        (["--bill-of", "openai", "--since", "2026-09-01", "--admin-key", KEY], "a key is never written here"),
        (["--bill-of", "openai", "--since", "2026-09-01", "--bill-url", "ftp://x"], "write an address such as"),
        (["--bill-of", "openai", "--bill", "x.csv"], "either a file or a provider"),
        (["--bill-of", "groq"], "openai"),
    ],
)
def test_wrong_options_say_what_to_write(
    state: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is named before anybody is asked; a key that was written in the wrong place is not repeated."""
    assert state.is_dir()
    for name in ("OPENAI_ADMIN_KEY", "ANTHROPIC_ADMIN_KEY", "MINE"):
        monkeypatch.delenv(name, raising=False)
    assert reported(*words) != 0
    error = capsys.readouterr().err
    assert says in error
    assert KEY not in error
