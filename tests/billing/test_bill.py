"""Bills as consoles, interfaces and spreadsheets write them are read to the nano-dollar, or refused with their line."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from organism import ConfigError
from organism.amounts import NANOUSD_PER_USD, NS_PER_S, TokenUsage
from organism.billing.bill import read_bill
from organism.billing.bill_values import day_of, nanousd_of
from organism.billing.period import Period
from organism.billing.reconciliation import reconcile
from organism.usage.events import UsageEvent

DAY = date(2026, 11, 10)
OPENAI = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,organization_id"
)
ANTHROPIC = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type"
)
START = 1_794_268_800  # 2026-11-10T00:00:00Z
FRAME = f"{START},{START + 86_400},2026-11-10T00:00:00+00:00,2026-11-11T00:00:00+00:00"


def used(time: str = "2026-11-10T12:00:00+00:00", *, cost: int = 1_500_000_000, **fields: object) -> UsageEvent:
    defaults: dict[str, object] = {
        "time_ns": int(datetime.fromisoformat(time).timestamp()) * NS_PER_S,
        "thread_id": "t",
        "root_thread_id": "t",
        "agent": "writer",
        "call_id": "c",
        "attempt": 1,
        "provider": "p",
        "model": "main",
        "request_model": "m",
        "response_model": None,
        "usage": TokenUsage(input=10, output=5),
        "cost_nanousd": cost,
        "price_source": "test",
        "latency_ns": 1,
        "outcome": "settled",
    }
    return UsageEvent(**(defaults | fields))  # type: ignore[arg-type]


EXPORTS = {
    "OpenAI's console, by day": f"{OPENAI}\n{FRAME},1.50000000000000000000,usd,,,org-x\n",
    "OpenAI's console, pasted with tabs": f"{OPENAI}\n{FRAME},1.5,usd,,,org-x\n".replace(",", "\t"),
    "OpenAI's console, by line item": (
        f'{OPENAI}\n{FRAME},0.5,usd,"gpt-4o-mini-2024-07-18, input",p,org-x\n'
        f'{FRAME},1,usd,"gpt-4o-mini-2024-07-18, cached input",p,org-x\n'
    ),
    "OpenAI's costs interface": json.dumps(
        {
            "object": "page",
            "data": [
                {
                    "object": "bucket",
                    "start_time": START,
                    "end_time": START + 86_400,
                    "results": [
                        {
                            "object": "organization.costs.result",
                            "amount": {"value": 1.5, "currency": "usd"},
                            "line_item": "gpt-4o-mini-2024-07-18, input",
                            "project_id": None,
                        }
                    ],
                }
            ],
            "has_more": False,
        }
    ),
    "OpenAI's dashboard, in cents": json.dumps(
        {
            "object": "list",
            "daily_costs": [{"timestamp": START, "line_items": [{"name": "GPT-4o mini", "cost": 150.0}]}],
        }
    ),
    "Anthropic's console": (
        f"\ufeff{ANTHROPIC}\r\n2026-11-10,GPT 4o mini,Default,k,message,≤ 200k,input_no_cache,0.5,0.5,token\r\n"
        "2026-11-10,GPT 4o mini,Default,k,message,≤ 200k,output,1.0,1.0,token\r\n"
    ),
    "Anthropic's cost report, in cents": json.dumps(
        {
            "data": [
                {
                    "starting_at": "2026-11-10T00:00:00Z",
                    "ending_at": "2026-11-11T00:00:00Z",
                    "results": [{"currency": "USD", "amount": "150.00", "model": "gpt-4o-mini", "cost_type": "tokens"}],
                }
            ],
            "has_more": False,
            "next_page": None,
        }
    ),
    "pages, one a line": "\n".join(
        json.dumps({"data": [{"start_time": START, "results": [{"amount": {"value": v, "currency": "usd"}}]}]})
        for v in ("1.0", "5e-1")
    ),
    "a list of flat objects": json.dumps([{"Date": "2026-11-10", "Cost (USD)": "1.50", "Model": "gpt-4o-mini"}]),
    "a spreadsheet of half of Europe": "sep=;\r\nDatum;date;model;cost_usd\r\nx;10.11.2026;gpt-4o-mini;1,50\r\n",
    "a title above and a total below": "Report\n\nDay,Model,Cost (USD)\n2026-11-10,gpt-4o-mini,$1.50\nTotal,,$1.50\n",
    "quoted amounts": 'date,model,amount,currency\n"2026-11-10","gpt-4o-mini","1.50","USD"\n',
}


@pytest.mark.parametrize("text", EXPORTS.values(), ids=EXPORTS)
def test_export_is_compared_as_it_comes(text: str) -> None:
    """Whatever console, interface or spreadsheet a bill is from, it meets what was recorded of the same model."""
    event = used(request_model="gpt-4o-mini", response_model="gpt-4o-mini-2024-07-18")

    (found,) = reconcile([event], read_bill(text), Period())

    assert (found.day, found.billed_nanousd, found.difference_nanousd) == (DAY, 1_500_000_000, 0)


@pytest.mark.parametrize(
    ("billed", "requested", "answered"),
    [
        ("Claude Haiku 4.5", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("Claude Opus 3", "claude-3-opus-latest", None),
        ("Claude Sonnet 4.5 (≤ 200k)", "anthropic/claude-sonnet-4-5", None),
        ("claude-sonnet-4-5-20250929", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", None),
        ("gpt-4o-2024-08-06", "gpt-4o", None),
        ("GPT-4.1 nano", "gpt-4.1-nano", "gpt-4.1-nano-2025-04-14"),
        ("o3", "o3-2025-04-16", None),
    ],
)
def test_name_for_people_and_identifier_are_one_model(billed: str, requested: str, answered: str | None) -> None:
    """A model is found under the name that a console shows, with or without date, vendor and order of words."""
    bill = read_bill(f"date,model,cost_usd\n2026-11-10,{billed},1.50\n2026-11-10,gpt-4o-mini,7\n")
    event = used(request_model=requested, response_model=answered)

    found = {line.model: line.recorded_nanousd for line in reconcile([event], bill, Period())}

    assert found == {billed: 1_500_000_000, "gpt-4o-mini": 0}


def test_very_name_goes_before_what_it_means() -> None:
    """Two dated versions of one model that are billed apart are compared apart."""
    bill = read_bill("date,model,cost\n2026-11-10,gpt-4o-2024-05-13,1\n2026-11-10,gpt-4o-2024-08-06,2\n")
    events = [used(request_model="gpt-4o", response_model="gpt-4o-2024-08-06", cost=2 * NANOUSD_PER_USD)]

    assert [line.recorded_nanousd for line in reconcile(events, bill, Period())] == [0, 2 * NANOUSD_PER_USD]


def test_idle_day_is_shown_only_if_something_was_recorded_on_it() -> None:
    """A day without an amount is a day of nothing billed; recorded spend on it is told."""
    bill = read_bill(
        f"{OPENAI}\n1794096000,,2026-11-08T00:00:00+00:00,,,,,,\n1794182400,,2026-11-09T00:00:00+00:00,,,,,,\n{FRAME},1.5,usd,,,o\n"
    )

    found = reconcile([used("2026-11-09T01:00:00+00:00", cost=7), used()], bill, Period())

    assert [(line.day.day, line.billed_nanousd, line.recorded_nanousd) for line in found] == [
        (9, 0, 7),
        (10, 1_500_000_000, 1_500_000_000),
    ]


@pytest.mark.parametrize(
    ("heading", "day", "hits"),
    [
        ("usage_date_utc", "2026-11-10", True),
        ("start_time", str(START), True),
        ("start_time_iso", "2026-11-10T00:00:00Z", True),
        ("date", "2026-11-10", False),
        ("date", "2026-11-10T00:00:00+09:00", False),
    ],
)
def test_day_begins_where_the_bill_says(heading: str, day: str, *, hits: bool) -> None:
    """A bill by UTC days is compared by UTC days, whatever the report's time zone; a plain day is the report's."""
    bill = read_bill(f"{heading},cost\n{day},1.5\n")

    found = reconcile([used("2026-11-10T23:30:00+00:00")], bill, Period(time_zone=ZoneInfo("Europe/Berlin")))

    assert found[0].recorded_nanousd == (1_500_000_000 if hits else 0)


def test_day_that_is_half_in_the_period_is_left_out() -> None:
    """A report from noon on does not compare half a day with the bill of the whole."""
    bill = read_bill("date,cost\n2026-11-09,1\n2026-11-10,2\n2026-11-11,3\n")
    noon = int(datetime(2026, 11, 9, 12, tzinfo=UTC).timestamp()) * NS_PER_S
    until = int(datetime(2026, 11, 11, tzinfo=UTC).timestamp()) * NS_PER_S

    assert [line.day for line in reconcile([], bill, Period(since_ns=noon, until_ns=until))] == [DAY]


def test_what_no_model_is_named_for_stands_by_its_kind() -> None:
    """Fees between models are a line of their own, not added to what no line names."""
    bill = read_bill(f"{ANTHROPIC}\n2026-11-10,m,D,k,message,x,y,1,1,token\n2026-11-10,,D,k,,,,0.5,0.5,web_search\n")

    assert [(line.model, line.cost_nanousd) for line in bill] == [("m", 10**9), ("web_search", 500_000_000)]


@pytest.mark.parametrize(
    ("text", "comma", "nanousd"),
    [
        ("4.5e-04", False, 450_000),
        ("1,234.56", False, 1_234_560_000_000),
        ("1,234", False, 1_234_000_000_000),
        ("1.234,56", False, 1_234_560_000_000),
        ("0,00045", False, 450_000),
        ("1,234", True, 1_234_000_000),
        ("1'234.50", False, 1_234_500_000_000),
        ("US$ 0.10", False, 100_000_000),
        ("0.10 USD", False, 100_000_000),
        ("-$0.10", False, -100_000_000),
        ("($0.10)", False, -100_000_000),
        ("−0.10", False, -100_000_000),  # noqa: RUF001 - a minus sign as typesetters write it
        ("", False, 0),
        ("-", False, 0),
        (0.5, False, 500_000_000),
    ],
)
def test_amount_is_read_as_it_is_meant(text: object, nanousd: int, *, comma: bool) -> None:
    """Exponents, groups, decimal commas, signs of money and credits in brackets are all dollars, exactly."""
    assert nanousd_of(text, comma=comma) == nanousd


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-10", "2026/11/10", "20261110", "Nov 10, 2026", "10 November 2026", "10.11.2026", "11/30/2026"),
        *(str(START), str(START * 1000), f"{START}.0", "2026-11-10 00:00:00", "2026-11-10T07:00:00.000Z"),
    ],
)
def test_day_is_read_as_it_is_meant(text: str) -> None:
    """Dates as consoles and spreadsheets write them, where they can only be one day."""
    assert day_of(text)[0] in (DAY, date(2026, 11, 30))


def test_offset_of_a_day_is_kept() -> None:
    """A day that begins in another zone is compared from that instant on."""
    assert day_of("2026-11-10T00:00:00-08:00")[1] == timezone(timedelta(hours=-8))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("date,cost,currency\n2026-11-10,1,EUR\n", "line 2.*'EUR'"),
        ("date,cost\n2026-11-10,1\n01/02/2026,1\n", "line 3.*two days"),
        ("date,cost\n2026-11-10,12 apples\n", "line 2.*apples"),
        ("date,cost\n2026-11-10,Infinity\n", "line 2"),
        ("usage_date_utc,model_version,usage_input_tokens_no_cache\n", "export of cost"),
        ('{"data": [{"start_time": 1, "results": ["x"]}]}', "cannot be read"),
        ('[{"date": "2026-11-10", "cost": 1}, {"date": "2026-11-10"}]', "no column with dollars"),
        ("{broken", "cannot be read"),
    ],
)
def test_bill_that_cannot_be_compared_says_where_and_why(text: str, complaint: str) -> None:
    """Another currency, an ambiguous day or a line that is no amount is refused by its place, never read half."""
    with pytest.raises(ConfigError, match=complaint):
        read_bill(text)
