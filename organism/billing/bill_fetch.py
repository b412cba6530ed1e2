"""Fetches a bill from its vendor, page by page. It blocks: for the command line."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from organism.billing.bill_requests import BillPage, BillQuestion, VendorReport, read_page, refusal_of
from organism.errors import ConfigError, MissingExtraError
from organism.text.error_text import describe
from organism.text.redaction import remember

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 30.0
_PAGE_BYTES = 32_000_000
_PAGES_MAX = 1_000
_TRIES = 4
_WAIT_S = 2.0
_WAIT_MAX_S = 60.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504, 529})
_OK = 200
_NOT_FOR_THIS_KEY = frozenset({403, 404})


def fetch_bill(
    question: BillQuestion,
    key: str,
    key_name: str,
    say: Callable[[str], None],
    wait: Callable[[float], None] = time.sleep,
) -> str:
    """Return all pages of all reports of a bill, one a line, as :func:`organism.billing.bill.read_bill` reads them.

    Args:
        question: What is asked for.
        key: The admin key.
        key_name: Where it comes from, for messages.
        say: Told in a sentence what the bill lacks: a key for costs may not be one for what was counted.
        wait: Waits so many seconds before a vendor is asked again.

    Raises:
        ConfigError: If the vendor cannot be reached or gives no bill; it says what to do.
        MissingExtraError: If the HTTP client is not installed.
    """
    try:
        import httpx2
    except ImportError:
        raise MissingExtraError("fetching a bill", "daemon") from None
    remember(key)
    about = question.about
    headers = {**about.headers(key), "accept": "application/json"}
    try:
        # Redirects are not followed: the key is for the vendor alone.
        with httpx2.Client(headers=headers, timeout=_TIMEOUT_S, follow_redirects=False) as client:

            def pages(report: VendorReport) -> Iterator[str]:
                try:
                    yield from _pages(question, lambda page: _page(client, question, question.url(report, page), wait))
                except _NoPageError as no:
                    if not report.counts or no.status not in _NOT_FOR_THIS_KEY:
                        raise refusal_of(question, no.status, no.body, key_name) from None
                    say(f"{about.title} does not tell what it has counted ({no.status} for {report.path})")

            return "\n".join(line for report in about.reports for line in pages(report))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ConfigError(f"{about.title} cannot be reached for its bill: {describe(error)}") from None


def _pages(question: BillQuestion, read: Callable[[str | None], BillPage]) -> Iterator[str]:
    """Yield the pages of a report, each as its line."""
    seen: set[str | None] = set()
    page: str | None = None
    while True:
        found = read(page)
        yield found.line
        if found.next is None:
            return
        seen.add(page)
        if found.next in seen or len(seen) >= _PAGES_MAX:
            raise ConfigError(f"{question.about.title} goes on and on with the same pages; ask for a shorter period")
        page = found.next


class _NoPageError(Exception):
    """A vendor gives no page."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def _page(client: "httpx2.Client", question: BillQuestion, url: str, wait: Callable[[float], None]) -> BillPage:
    """Return a page; what may go better the next time is asked for a few times.

    Raises:
        _NoPageError: If there is none.
        ConfigError: If it is none.
    """
    for attempt in range(1, _TRIES + 1):
        with client.stream("GET", url) as response:
            body = _whole(response, question)
            status: int = response.status_code
            after = response.headers.get("retry-after", "")
        if status == _OK:
            return read_page(question, body)
        if status not in _AGAIN or attempt == _TRIES:
            break
        wait(min(float(after), _WAIT_MAX_S) if after.isascii() and after.isdecimal() else _WAIT_S * attempt)
    raise _NoPageError(status, body)


def _whole(response: "httpx2.Response", question: BillQuestion) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _PAGE_BYTES:
            raise ConfigError(f"a page of {question.about.title}'s bill is too long to be one")
    return bytes(body)
