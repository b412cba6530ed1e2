"""Accounts over real HTTP: in pages by name, by scope and words, however many values a label has."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from organism import Limits, Organism
from organism.budget.accounts.idle_accounts import LATEST_MAX
from organism.telemetry.metrics import instruments
from organism.telemetry.metrics.gauges import read_gauges

pytestmark = pytest.mark.anyio

Served = Callable[..., AbstractAsyncContextManager[Any]]

MANY = 1_100


def open_accounts(organism: Organism, tenants: int) -> list[str]:
    """Open accounts as calls of so many tenants do, and some others."""
    names = [f"label:tenant=t{number}@lifetime" for number in range(tenants)]
    names += ["agent:writer@thread:t", "organism@lifetime", "pool:tenant=big%20ones@lifetime", "thread:t"]
    for name in names:
        organism.ledger.open(name, Limits(tokens=10), 1)
    return names


async def test_pages_have_each_account_once_whatever_is_opened_and_closed_meanwhile(served: Served) -> None:
    """The next page begins behind the last name, and the Link header has its address."""
    async with served() as (organism, client):
        names = open_accounts(organism, MANY)
        first = await client.get("/v1/budgets")
        seen = [each["account"] for each in first.json()]
        organism.ledger.close(seen[-1], 2)
        organism.ledger.open("agent:another@thread:t", Limits(), 2)
        address = first.links["next"]["url"]
        while address:
            page = await client.get(address)
            seen += [each["account"] for each in page.json()]
            address = page.links.get("next", {}).get("url", "")

    assert len(first.json()) == 500
    assert seen == sorted(names)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("scope=agent", ["agent:writer@thread:t"]),
        ("scope=organism&scope=thread", ["organism@lifetime", "thread:t"]),
        ("search=BIG+ones", ["pool:tenant=big%20ones@lifetime"]),
        ("search=tenant+t1%40", ["label:tenant=t1@lifetime"]),
        ("search=nobody", []),
        ("scope=label&limit=1", ["label:tenant=t0@lifetime"]),
        ("scope=label&limit=1&cursor=label:tenant%3Dt0%40lifetime", ["label:tenant=t1@lifetime"]),
    ],
)
async def test_accounts_are_found_by_scope_and_words(served: Served, query: str, expected: list[str]) -> None:
    """Each condition that is given must hold."""
    async with served() as (organism, client):
        open_accounts(organism, 3)
        found = [each["account"] for each in (await client.get(f"/v1/budgets?{query}")).json()]

    assert found == expected


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "scope=planet", "page=2"])
async def test_what_is_no_page_is_refused(served: Served, query: str) -> None:
    """A slip is an error that names the parameter, and never a longer list."""
    async with served() as (_, client):
        assert (await client.get(f"/v1/budgets?{query}")).status_code in (400, 422)


async def test_metrics_read_the_latest_accounts_of_a_label_and_count_the_others(served: Served) -> None:
    """A hundred thousand tenants make no scrape slow, and nobody takes what is left out for all there is."""
    async with served() as (organism, _):
        open_accounts(organism, LATEST_MAX + 7)
        readings = [reading for reading in read_gauges(organism) if reading.instrument is instruments.ACCOUNTS_NOT_READ]

    assert [(reading.value, reading.labels) for reading in readings] == [(7, ("label:tenant",))]
