"""How vendors are asked for what they have billed and counted, and what their answers mean. Pure.

Sources: OpenAI's API reference (``GET /v1/organization/costs``: dollars as numbers; ``/v1/organization/usage/...``:
tokens and requests, cached input within the input), Anthropic's (``GET /v1/organizations/cost_report``: cents as text;
``/v1/organizations/usage_report/messages``: tokens, cached input beside the input). All give buckets of a day, in pages
with ``next_page``, want an admin key, which is none for calls, and count days in UTC.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from organism.errors import ConfigError
from organism.text.error_text import in_one_line

BillVendor = Literal["openai", "anthropic"]
"""Who gives bills over an API."""

_SAID_MAX = 200


class VendorReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of the reports that a bill is made of.

    Attributes:
        path: Where it is, below the vendor's address.
        group: By what its lines are told apart: the name and the value of the parameter.
        days_max: So many days at most stand on one page.
        counts: Whether it tells tokens, and not costs: a bill is none without costs, and is one without these.
    """

    path: str
    group: tuple[str, str]
    days_max: int = 31
    counts: bool = True


class VendorBilling(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one vendor's bills.

    Attributes:
        title: The vendor's name.
        base_url: Its own address.
        reports: The costs first, then what it has counted.
        since: The parameter with the first day's beginning.
        until: The parameter with the end of the last.
        instant: Writes the beginning of a day.
        headers: Returns what is sent with a request, for a key.
        variable: The variable of the environment that its own tools read an admin key from.
        keys_at: Where a person makes one.
    """

    title: str
    base_url: str
    reports: tuple[VendorReport, ...]
    since: str
    until: str
    instant: Callable[[date], object]
    headers: Callable[[str], dict[str, str]]
    variable: str
    keys_at: str


def _second(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())


def _moment(day: date) -> str:
    return f"{day}T00:00:00Z"


VENDOR_BILLING: dict[BillVendor, VendorBilling] = {
    "openai": VendorBilling(
        title="OpenAI",
        base_url="https://api.openai.com",
        reports=(
            VendorReport(path="/v1/organization/costs", group=("group_by", "line_item"), days_max=180, counts=False),
            VendorReport(path="/v1/organization/usage/completions", group=("group_by", "model")),
            VendorReport(path="/v1/organization/usage/embeddings", group=("group_by", "model")),
        ),
        since="start_time",
        until="end_time",
        instant=_second,
        headers=lambda key: {"authorization": f"Bearer {key}"},
        variable="OPENAI_ADMIN_KEY",
        keys_at="platform.openai.com, Settings, Admin keys",
    ),
    "anthropic": VendorBilling(
        title="Anthropic",
        base_url="https://api.anthropic.com",
        reports=(
            VendorReport(path="/v1/organizations/cost_report", group=("group_by[]", "description"), counts=False),
            VendorReport(path="/v1/organizations/usage_report/messages", group=("group_by[]", "model")),
        ),
        since="starting_at",
        until="ending_at",
        instant=_moment,
        headers=lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"},
        variable="ANTHROPIC_ADMIN_KEY",
        keys_at="console.anthropic.com, Settings, Admin keys",
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

    @property
    def about(self) -> VendorBilling:
        """What is known of the vendor."""
        return VENDOR_BILLING[self.vendor]

    def url(self, report: VendorReport, page: str | None = None) -> str:
        """Return the address of a page of a report: of the first, or of the one that the last has named."""
        about = self.about
        query: dict[str, object] = {
            about.since: about.instant(self.first),
            about.until: about.instant(self.end),
            "bucket_width": "1d",
            report.group[0]: report.group[1],
            "limit": min(report.days_max, max(1, (self.end - self.first).days)),
        }
        if page is not None:
            query["page"] = page
        return f"{(self.base_url or about.base_url).rstrip('/')}{report.path}?{urlencode(query)}"


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
    try:
        found = msgspec.json.decode(body, type=_Page)
        line = msgspec.json.format(body, indent=0).decode()
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ConfigError(f"{question.about.title} has answered with something that is no bill; {_ELSE}") from None
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
    about = question.about
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
