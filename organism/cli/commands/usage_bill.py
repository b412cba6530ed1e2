"""The bill that ``organism usage report`` compares with: from a file, or fetched from the provider's API."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from organism.amounts import NS_PER_S
from organism.billing.bill import BillLine, read_bill
from organism.billing.bill_requests import VENDOR_BILLING, BillQuestion, BillVendor
from organism.billing.period import Period, PeriodReport
from organism.cli.event_sources import read_text
from organism.cli.output import note
from organism.config.dotenv import read_dotenv
from organism.errors import ConfigError
from organism.text.credentials import header_secret
from organism.usage.instants import DAY_S

_GROUP = Group("The provider's bill")
_KEY_HELP = (
    "'${env:NAME}': where the admin key is, in the environment or in .env; OPENAI_ADMIN_KEY or ANTHROPIC_ADMIN_KEY "
    "unless given."
)
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class BillOptions:
    """Which bill a report is compared with.

    Attributes:
        bill: A file of the provider's.
        bill_of: Whose API it is fetched from.
        admin_key: A reference to the variable that holds the key for that.
        bill_url: Where that API is.
    """

    bill: Annotated[
        Path | None, Parameter(help="A provider's bill, CSV or JSON as exported, to compare with.", group=_GROUP)
    ] = None
    bill_of: Annotated[
        BillVendor | None,
        Parameter(
            help="Fetch it from this provider's API: the days of the period that are over, in UTC.", group=_GROUP
        ),
    ] = None
    admin_key: Annotated[str | None, Parameter(help=_KEY_HELP, group=_GROUP)] = None
    bill_url: Annotated[
        str | None,
        Parameter(help="Fetch it through this address, such as your own proxy's; the key goes there.", group=_GROUP),
    ] = None

    def lines(self, period: Period, made: PeriodReport, now_ns: int, folder: Path) -> tuple[BillLine, ...] | None:
        """Return the bill; ``None`` if there is none.

        Args:
            period: What the report is about.
            made: The report; its first event begins a period without a beginning.
            now_ns: The present instant.
            folder: Where a ``.env`` may be.

        Raises:
            ConfigError: If it cannot be read or fetched, or the options do not go together.
        """
        if self.bill is not None and self.bill_of is not None:
            raise ConfigError("give either a file or a provider", path="--bill-of")
        if self.bill is not None:
            return read_bill(read_text(self.bill))
        if self.bill_of is None:
            return None
        if self.bill_url is not None and not _URL.fullmatch(self.bill_url):
            raise ConfigError("write an address such as https://proxy.example.com", path="--bill-url")
        from organism.billing.bill_fetch import fetch_bill

        first, end = _days(period, made.first_ns, now_ns)
        question = BillQuestion(vendor=self.bill_of, first=first, end=end, base_url=self.bill_url)
        variable = self._variable(self.bill_of)
        value = os.environ.get(variable) or read_dotenv(folder / ".env").get(variable)
        if not value:
            about = question.about
            raise ConfigError(
                f"the environment variable {variable} is not set; make an admin key at {about.keys_at}, and set it "
                "there or in the file .env: a key for calls is none"
            )
        key = header_secret(f"the environment variable {variable}", value)
        return read_bill(fetch_bill(question, key, variable, note))

    def _variable(self, vendor: BillVendor) -> str:
        if self.admin_key is None:
            return VENDOR_BILLING[vendor].variable
        if (found := _REFERENCE.fullmatch(self.admin_key)) is None:
            # Not shown: it may well be a key.
            raise ConfigError("a key is never written here; write '${env:NAME}' and set NAME", path="--admin-key")
        return found[1]


NO_BILL = BillOptions()
"""A report of what was recorded alone."""


def _days(period: Period, first_ns: int, now_ns: int) -> tuple[date, date]:
    """Return the first of a period's days, and the day after the last that is over: vendors count days in UTC."""
    since_ns = first_ns if period.since_ns is None else period.since_ns
    until_ns = now_ns if period.until_ns is None else min(now_ns, period.until_ns)
    # A day of which only a part is in the period is not asked for: the bill does not tell what that part has cost.
    first = _day(since_ns) if period.since_ns is None else _day(since_ns + DAY_S * NS_PER_S - 1)
    end = _day(until_ns)
    if not since_ns or first >= end:
        raise ConfigError("no whole day (UTC) of the period is over, and bills are by the day", path="--bill-of")
    return first, end


def _day(time_ns: int) -> date:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).date()
