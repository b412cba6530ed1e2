"""How vendors are asked for what they have billed, and what their answers mean. Pure.

Sources: OpenAI's API reference (``GET /v1/organization/costs``: buckets of a day, dollars as numbers, ``page`` and
``next_page``), Anthropic's (``GET /v1/organizations/cost_report``: buckets of a day, cents as text, at most 31 of them
on a page). Both want an admin key, which is none for calls, and count days in UTC.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from organism.errors import ConfigError
from organism.text.error_text import in_one_line

BillVendor = Literal["openai", "anthropic"]
"""Who gives bills over an API."""

_SAID_MAX = 200


class VendorBilling(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one vendor's bills.

    Attributes:
        title: The vendor's name.
        base_url: Its own address.
        path: Of the costs, below it.
        variable: The variable of the environment that its own tools read an admin key from.
        keys_at: Where a person makes one.
        days_max: So many days at most stand on one page.
    """

    title: str
    base_url: str
    path: str
    variable: str
    keys_at: str
    days_max: int


VENDOR_BILLING: dict[BillVendor, VendorBilling] = {
    "openai": VendorBilling(
        title="OpenAI",
        base_url="https://api.openai.com",
        path="/v1/organization/costs",
        variable="OPENAI_ADMIN_KEY",
        keys_at="platform.openai.com, Settings, Admin keys",
        days_max=180,
    ),
    "anthropic": VendorBilling(
        title="Anthropic",
        base_url="https://api.anthropic.com",
        path="/v1/organizations/cost_report",
        variable="ANTHROPIC_ADMIN_KEY",
        keys_at="console.anthropic.com, Settings, Admin keys",
        days_max=31,
    ),
}


class BillQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What a vendor is asked for.

    Attributes:
        vendor: Whom.
        first: The first day.
        end: The day after the last.
        base_url: Where; the vendor's own address unless given.
    """

    vendor: BillVendor
    first: date
    end: date
    base_url: str | None = None

    def url(self, page: str | None = None) -> str:
        """Return the address of a page of the answer: of the first, or of the one that the last has named."""
        about = VENDOR_BILLING[self.vendor]
        days = min(about.days_max, max(1, (self.end - self.first).days))
        query: dict[str, object]
        if self.vendor == "openai":
            query = {"start_time": _second(self.first), "end_time": _second(self.end), "bucket_width": "1d"}
            query |= {"group_by": "line_item", "limit": days}
        else:
            query = {"starting_at": f"{self.first}T00:00:00Z", "ending_at": f"{self.end}T00:00:00Z"}
            query |= {"bucket_width": "1d", "group_by[]": "description", "limit": days}
        if page is not None:
            query["page"] = page
        return f"{(self.base_url or about.base_url).rstrip('/')}{about.path}?{urlencode(query)}"

    def headers(self, key: str) -> dict[str, str]:
        """Return the headers of a request."""
        if self.vendor == "openai":
            return {"authorization": f"Bearer {key}", "accept": "application/json"}
        return {"x-api-key": key, "anthropic-version": "2023-06-01", "accept": "application/json"}


class _Page(msgspec.Struct):
    data: list[dict[str, Any]]
    has_more: bool = False
    next_page: str | None = None


class BillPage(msgspec.Struct, frozen=True):
    """A page of an answer.

    Attributes:
        line: It, as JSON in one line.
        next: What the next page is asked for by; ``None`` if it is the last.
    """

    line: str
    next: str | None


def read_page(question: BillQuestion, body: bytes) -> BillPage:
    """Read a page that came with success.

    Raises:
        ConfigError: If it is no page of costs.
    """
    title = VENDOR_BILLING[question.vendor].title
    try:
        found = msgspec.json.decode(body, type=_Page)
        line = msgspec.json.format(body, indent=0).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{title} has answered with something that is no bill; {_ELSE}") from None
    return BillPage(line, (found.next_page or None) if found.has_more else None)


_ELSE = "export the costs in its console, and give the file as --bill"


def refusal_of(question: BillQuestion, status: int, body: bytes, key_name: str) -> ConfigError:
    """Return what to say where a vendor gives no bill, with what to do about it.

    Args:
        question: What was asked for.
        status: The HTTP status.
        body: What came with it; the vendor's own words are repeated without secrets.
        key_name: Where the key comes from.
    """
    about = VENDOR_BILLING[question.vendor]
    match status:
        case 401:
            remedy = (
                f"it does not know the key in {key_name}; make an admin key at {about.keys_at}: one for calls is none"
            )
        case 403:
            remedy = (
                f"the key in {key_name} may not read costs; let the organization's owner make one at {about.keys_at}"
            )
        case 404:
            remedy = f"it has no costs for this key: they are for organizations, not for single accounts; {_ELSE}"
        case 429:
            remedy = "it was asked too often; try again in a minute"
        case _ if status >= 500:  # noqa: PLR2004
            remedy = f"it fails at the moment; try again later, or {_ELSE}"
        case _:
            remedy = _ELSE
    return ConfigError(f"{about.title} gives no bill ({status}): {remedy}{_said(body)}")


def _said(body: bytes) -> str:
    """Return the vendor's own words, if there are any."""
    try:
        found: Any = msgspec.json.decode(body)
        error = found["error"]
        message = str(error["message"] if isinstance(error, Mapping) else error)
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError, UnicodeDecodeError):
        return ""
    return f". It says: {in_one_line(message, _SAID_MAX)}" if message.strip() else ""


def _second(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
