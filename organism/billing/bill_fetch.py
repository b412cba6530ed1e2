"""Fetches a bill from its vendor, page by page. It blocks: for the command line."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from organism.billing.bill_requests import VENDOR_BILLING, BillPage, BillQuestion, read_page, refusal_of
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


def fetch_bill(question: BillQuestion, key: str, key_name: str, wait: Callable[[float], None] = time.sleep) -> str:
    """Return all pages of a bill, one a line, as :func:`organism.billing.bill.read_bill` reads them.

    Args:
        question: What is asked for.
        key: The admin key.
        key_name: Where it comes from, for messages.
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
    title = VENDOR_BILLING[question.vendor].title
    lines: list[str] = []
    seen: set[str] = set()
    page: str | None = None
    try:
        # Redirects are not followed: the key is for the vendor alone.
        with httpx2.Client(headers=question.headers(key), timeout=_TIMEOUT_S, follow_redirects=False) as client:
            while True:
                found = _page(client, question, page, key_name, wait)
                lines.append(found.line)
                if found.next is None:
                    return "\n".join(lines)
                if found.next in seen or len(lines) >= _PAGES_MAX:
                    raise ConfigError(f"{title} goes on and on with the same pages; ask for a shorter period")
                seen.add(found.next)
                page = found.next
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ConfigError(f"{title} cannot be reached for its bill: {describe(error)}") from None


def _page(
    client: "httpx2.Client", question: BillQuestion, page: str | None, key_name: str, wait: Callable[[float], None]
) -> BillPage:
    """Return a page; what may go better the next time is asked for a few times."""
    for attempt in range(1, _TRIES + 1):
        with client.stream("GET", question.url(page)) as response:
            body = _whole(response, question)
            status: int = response.status_code
            after = response.headers.get("retry-after", "")
        if status == _OK:
            return read_page(question, body)
        if status not in _AGAIN or attempt == _TRIES:
            break
        wait(min(float(after), _WAIT_MAX_S) if after.isascii() and after.isdecimal() else _WAIT_S * attempt)
    raise refusal_of(question, status, body, key_name)


def _whole(response: "httpx2.Response", question: BillQuestion) -> bytes:
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > _PAGE_BYTES:
            raise ConfigError(f"a page of {VENDOR_BILLING[question.vendor].title}'s bill is too long to be one")
    return bytes(body)
