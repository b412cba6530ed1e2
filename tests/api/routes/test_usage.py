"""Usage over real HTTP: sums, and over time."""

from pathlib import Path
from typing import Any

import pytest

from organism import Limits
from tests.api.conftest import Served, make, serve

pytestmark = pytest.mark.anyio


async def worked(client: Any, organism: Any) -> None:
    body = {"text": "go", "labels": {"tenant": "a"}}
    thread = (await client.post("/v1/threads", json=body)).json()["thread_id"]
    await organism.wait(thread)


@pytest.mark.parametrize(
    ("by", "name"), [("agent", "writer"), ("model", "main"), ("label:tenant", "a"), ("key", "owner")]
)
async def test_series_says_what_was_used_by_whom(served: Served, by: str, name: str) -> None:
    """A chart has a line for each agent, model, value of a label or key, with its numbers in the present hour."""
    async with served() as (organism, client):
        await worked(client, organism)
        made = (await client.get("/v1/usage/series", params={"measure": "calls", "by": by})).json()
        assert (made["step_s"], made["by"], made["measure"]) == (3600, by, "calls")
        assert [line["name"] for line in made["series"]] == [name]
        values = made["series"][0]["values"]
        assert sum(values) == 1
        assert len(values) == len(made["starts_ns"]) in {24, 25, 26}
        assert made["from"] == made["starts_ns"][0]
        daily = (await client.get("/v1/usage/series", params={"measure": "tokens", "by": by, "since": "7d"})).json()
        assert daily["step_s"] == 86400
        assert daily["series"][0]["values"][-1] > 0


async def test_refusals_are_a_series_of_their_own(served: Served) -> None:
    """What limits have refused is seen over time, by who was refused."""
    async with served(limits=Limits(calls=0)) as (organism, client):
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.pump.wait_rest(thread)
        made = (await client.get("/v1/usage/series", params={"measure": "refusals"})).json()
        assert [(line["name"], sum(line["values"])) for line in made["series"]] == [("writer", 1)]


@pytest.mark.parametrize(
    "query",
    [
        {"measure": "money"},
        {"by": "provider"},
        {"by": "label:"},
        {"step": "minute"},
        {"since": "yesterday"},
        {"until": "7y"},
        {"since": "1h", "until": "2h"},
        {"by": ["agent", "model"]},
    ],
)
async def test_series_of_nothing_is_refused(served: Served, query: dict[str, Any]) -> None:
    """What cannot be charted is an error that names the parameter, and no empty chart."""
    async with served() as (_, client):
        answer = await client.get("/v1/usage/series", params=query)
        assert answer.status_code == 400, answer.text
        assert next(iter(query)) in answer.json()["detail"] or "since" in answer.json()["detail"]


async def test_series_is_the_same_after_a_restart(tmp_path: Path) -> None:
    """A daemon that was started again shows the charts of before."""
    found = []
    for begun in (False, True):
        async with serve(make(journal=tmp_path / "journal.db")) as (organism, client):
            if not begun:
                await worked(client, organism)
            found.append((await client.get("/v1/usage/series", params={"measure": "tokens", "by": "key"})).json())
    assert found[0]["series"][0]["name"] == found[1]["series"][0]["name"] == "owner"
    assert sum(found[0]["series"][0]["values"]) == sum(found[1]["series"][0]["values"]) > 0
