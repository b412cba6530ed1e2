"""Usage over real HTTP: sums, and over time."""

import json
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


@pytest.mark.parametrize(
    ("query", "step_s", "steps"),
    [
        ({"since": "1h"}, 60, {61, 60}),
        ({"step": "minute"}, 60, {61, 60}),
        ({"step": "minute", "since": "2d"}, 60, {361, 360}),
        ({"since": "3h"}, 3600, {3, 4}),
        ({"since": "3d", "until": "1h"}, 3600, {71, 72}),
        ({"since": "9h", "until": "8h"}, 3600, {1, 2}),
        ({"since": "50d", "until": "49d"}, 86400, {1, 2}),
    ],
)
async def test_time_is_shown_in_the_finest_steps_that_are_kept_of_it(
    served: Served, query: dict[str, str], step_s: int, steps: set[int]
) -> None:
    """An hour has minutes, a day hours; what is long ago has coarser steps, and no zeros that look like sums."""
    async with served() as (_, client):
        made = (await client.get("/v1/usage/series", params=query)).json()
        assert (made["step_s"], len(made["starts_ns"]) in steps) == (step_s, True), len(made["starts_ns"])


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
        {"step": "second"},
        {"step": "minute", "since": "8h", "until": "7h"},
        {"step": "hour", "until": "60d"},
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


BEFORE, AFTER = {"since": "1h"}, {"until": "1h"}


@pytest.mark.parametrize("by", ["agent", "model", "tool", "thread", "day", "label"])
async def test_period_has_the_sums_of_what_happened_in_it(served: Served, by: str) -> None:
    """What was used within the last hour is all there is, and up to an hour ago there was nothing."""
    async with served() as (organism, client):
        await worked(client, organism)
        whole = (await client.get("/v1/usage", params={"by": by})).json()
        last = (await client.get("/v1/usage", params={"by": by, **BEFORE})).json()
        assert (last["total"], last["groups"]) == (whole["total"], whole["groups"])
        assert last["total"]["calls"] == 1
        assert last["since_ns"] > 0
        assert last["until_ns"] is None
        earlier = (await client.get("/v1/usage", params={"by": by, **AFTER})).json()
        assert (earlier["total"]["calls"], earlier["groups"]) == (0, {})


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/usage/report"])
@pytest.mark.parametrize("query", [{"since": "yesterday"}, {"until": "2026-13-01"}, {"since": "1h", "until": "2h"}])
async def test_period_that_is_none_is_refused(served: Served, path: str, query: dict[str, str]) -> None:
    """A wrong instant is an error that names the parameter, in the words of the command line."""
    async with served() as (_, client):
        answer = await client.get(path, params=query)
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(next(iter(query)))


@pytest.mark.parametrize(
    ("asked", "accept", "media_type", "begins"),
    [
        ("", "", "application/json", '{"report":'),
        ("", "*/*", "application/json", '{"report":'),
        ("", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8", "<!doctype html>"),
        ("", "text/csv", "text/csv; charset=utf-8", "by,name,cost_usd"),
        ("", "text/markdown, text/html;q=0.5", "text/markdown; charset=utf-8", "# Usage"),
        ("", "image/png", "application/json", '{"report":'),
        ("", "text/html;q=zero, ;;q=,,", "application/json", '{"report":'),
        ("csv", "text/html", "text/csv; charset=utf-8", "by,name,cost_usd"),
        ("html", "", "text/html; charset=utf-8", "<!doctype html>"),
    ],
)
async def test_report_comes_in_the_form_that_is_asked_for(
    served: Served, asked: str, accept: str, media_type: str, begins: str
) -> None:
    """By name or by the Accept header, whatever stands in it; and it is about what was used."""
    async with served() as (organism, client):
        await worked(client, organism)
        params = {"format": asked} if asked else {}
        answer = await client.get("/v1/usage/report", params=params, headers={"accept": accept})
        assert answer.headers["content-type"] == media_type
        assert answer.text.startswith(begins)
        assert "writer" in answer.text
        assert "tenant" in answer.text


async def test_report_is_of_a_period_a_thread_and_a_time_zone(served: Served) -> None:
    """It counts only what was asked for, and says what it is about; unknown words are errors."""
    async with served() as (organism, client):
        await worked(client, organism)
        thread = (await client.post("/v1/threads", json={"text": "go"})).json()["thread_id"]
        await organism.wait(thread)

        async def report(**params: str) -> Any:
            return (await client.get("/v1/usage/report", params=params)).json()

        assert (await report())["report"]["totals"]["calls"] == 2
        one = (await report(thread=thread, time_zone="Asia/Tokyo"))["report"]
        assert (one["totals"]["calls"], one["threads"]) == (1, 1)
        assert (one["period"]["thread_id"], one["period"]["time_zone"]) == (thread, "Asia/Tokyo")
        assert (await report(until="1h"))["report"]["totals"]["calls"] == 0
        assert (await report(thread="nobody"))["code"] == "unknown_thread"
        assert (await report(format="pdf"))["status"] == 400
        assert "time_zone" in (await report(time_zone="../etc/passwd"))["detail"]
        assert (await report(from_="1h"))["code"] == "unknown_parameter"


def bill_of(day: str, usd: str, tokens: int) -> str:
    """Return a bill as OpenAI's API gives it: a page of costs, and one of what was counted."""
    costs = [{"amount": {"value": usd, "currency": "usd"}, "line_item": "m, output"}]
    counted = [{"input_tokens": tokens, "output_tokens": 0, "num_model_requests": 1, "model": "m"}]
    pages = [{"data": [{"start_time_iso": day, "results": results}]} for results in (costs, counted)]
    return "\n".join(map(json.dumps, pages))


async def test_bill_is_compared_with_what_was_recorded(served: Served) -> None:
    """Day by day and model by model: dollars and tokens, with why they differ, in every form that a report has."""
    async with served() as (organism, client):
        await worked(client, organism)
        whole = (await client.get("/v1/usage/report")).json()
        (day,) = (cut["name"] for cut in whole["report"]["by_day"])
        tokens = sum(whole["report"]["totals"]["usage"].values())
        body = {"bill": bill_of(f"{day}T00:00:00Z", "9.5", tokens + 7)}

        compared = (await client.post("/v1/usage/report", json=body)).json()

        assert compared["report"] == whole["report"]
        (line,) = compared["drift"]
        assert (line["day"], line["model"], line["billed_nanousd"], line["calls"]) == (day, "m", 9_500_000_000, 1)
        assert (line["counted"]["input"], line["difference_tokens"]) == (tokens + 7, -7)
        assert line["recorded_nanousd"] == whole["report"]["totals"]["cost_nanousd"]
        assert (
            line["reason"] == "billed more than recorded: 7 tokens more counted than recorded, by calls past organism"
        )
        page = await client.post("/v1/usage/report", json=body, params={"format": "html"})
        assert "Against the bill" in page.text
        assert "tokens counted" in page.text


@pytest.mark.parametrize(
    ("bill", "says"),
    [
        ("", "bill"),
        ("no table", "no column with a day"),
        ("date,cost\n2026-11-10,much\n", "line 2 of the bill cannot be read"),
        ('{"data": [{"start_time": 1, "results": [{"input_tokens": "many"}]}]}', "input_tokens is no count"),
    ],
)
async def test_bill_that_is_none_is_refused(served: Served, bill: str, says: str) -> None:
    """What cannot be compared is an error with the line, and no report without a bill."""
    async with served() as (_, client):
        answer = await client.post("/v1/usage/report", json={"bill": bill})
        assert answer.status_code == 400
        assert says in answer.json()["detail"]
