"""A real organism under load, a real Prometheus that scrapes it, a real receiver of its spans: all tell the same."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import yaml

from organism import BudgetPlan, BudgetWarning, Context, Limits, ModelPlan, Organism, Route, Text, agent
from organism.amounts import NANOUSD_PER_USD, TokenUsage
from organism.api.application import Options
from organism.api.routes.metrics import metrics_group
from organism.api.server import ControlServer, bind, url_of
from organism.api.tokens.token_book import TokenBook
from organism.clock import SystemClock, utc
from organism.errors import RejectedError
from organism.llm.requests import CompletionRequest
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.stores.sqlite import SqliteJournal
from organism.telemetry.dashboards import ALERTS, DASHBOARD, export
from organism.telemetry.metrics.instruments import catalogue
from organism.telemetry.metrics.prometheus import PrometheusExporter
from organism.telemetry.otel import otel_exporting
from organism.testing import ScriptedAnswer, ScriptedProvider
from organism.usage.events import UsageEvent

pytestmark = pytest.mark.anyio

TOKEN = "a-token-of-the-tests"
PATIENCE_S = 60


@agent(next=["left", "right"])
async def planner(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    if isinstance(message, BudgetWarning):
        return None
    return Text((await ctx.llm.complete(message.text, max_output_tokens=30)).text)


@agent()
async def left(message: Text, ctx: Context) -> Text:
    answer = await ctx.llm.complete(message.text, max_output_tokens=30)
    ctx.report("length", "long" if len(answer.text) > 10 else "short")
    return Text(answer.text)


@agent()
async def right(message: Text, ctx: Context) -> Text:
    if ctx.envelope.id.endswith(("0", "7")):
        raise RuntimeError("as scripted")
    return message


def troubled() -> Callable[[CompletionRequest], ScriptedAnswer]:
    """Answer, but every seventh time refuse, and every fifth time leave the usage out."""
    calls = count(1)

    def answer(_request: CompletionRequest) -> ScriptedAnswer:
        number = next(calls)
        if number % 7 == 0:
            return ScriptedAnswer(error=RejectedError("alpha", "busy", again=True, retry_after_s=0))
        usage = TokenUsage(input=8, cached_input=3, cache_write=2, output=5, reasoning=4)
        return ScriptedAnswer(text="one two three", usage=usage, report_usage=number % 5 != 0, latency_s=0.001)

    return answer


def loaded_organism(folder: Path) -> Organism:
    clock = SystemClock()
    rates = flat_rates(input=3_000_000_001, output=7_000_000_003, source="test")
    script = troubled()
    window = Limits(cost_nanousd=NANOUSD_PER_USD, tokens=1_000_000)
    return Organism(
        [planner, left, right],
        name="load",
        models={"main": ModelPlan(name="main", routes=(Route("alpha", "m"), Route("beta", "m")))},
        providers={name: ScriptedProvider(script, name=name) for name in ("alpha", "beta")},
        prices=PriceBook({"alpha/m": rates, "beta/m": rates}, now=lambda: utc(clock)),
        limits=BudgetPlan(thread=Limits(tokens=150), windows={"day": window, "month": window}),
        on_exhausted="fail",
        journal=SqliteJournal(folder / "journal.sqlite"),
        clock=clock,
    )


async def work(organism: Organism, threads: int) -> None:
    """Run that many threads at once; one in ten gets too small a budget."""
    async with anyio.create_task_group() as tasks:
        for number in range(threads):
            limits = Limits(tokens=10) if number % 10 == 0 else None
            thread = await organism.open_thread("write about tides", limits=limits, labels={"tenant": str(number % 3)})
            tasks.start_soon(organism.wait, thread)


class Prometheus:
    """A client of a running Prometheus."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def query(self, expression: str) -> list[dict[str, Any]]:
        answer = (await self.client.get("/api/v1/query", params={"query": expression})).json()
        assert answer["status"] == "success", (expression, answer)
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def number(self, expression: str) -> float:
        found = await self.query(expression)
        return float(found[0]["value"][1]) if found else 0.0


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what happens in another process; there is nothing to be told by."""
    with anyio.fail_after(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - another process sets no event of ours
            await anyio.sleep(0.1)  # Prometheus itself only looks twice a second


@asynccontextmanager
async def scraped(organism: Organism, folder: Path) -> AsyncIterator[Prometheus]:
    """Serve an organism and have a Prometheus scrape it, with the rules that are shipped."""
    export(folder)
    (folder / "token").write_text(TOKEN)
    with bind("127.0.0.1", 0) as listener, bind("127.0.0.1", 0) as reserved:
        port = reserved.getsockname()[1]
        target = url_of(listener).removeprefix("http://")
        tokens = TokenBook(organism.clock.now_ns)
        tokens.know("scraper", TOKEN, ("read",))
        options = Options(groups=(metrics_group(PrometheusExporter(organism).render),))
        server = ControlServer(organism.control, tokens, listener, options)
        scrape = {
            "job_name": "organism",
            "static_configs": [{"targets": [target]}],
            "authorization": {"credentials_file": "token"},
        }
        settings = {
            "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
            "rule_files": [ALERTS],
            "scrape_configs": [scrape],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        reserved.close()
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--enable-feature=exemplar-storage",
            "--log.level=error",
        ]
        async with (
            anyio.create_task_group() as tasks,
            await anyio.open_process(command, stdout=subprocess.DEVNULL, stderr=None) as process,
            httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
        ):
            tasks.start_soon(server.serve)
            prometheus = Prometheus(client)

            async def up() -> bool:
                assert process.returncode is None
                try:
                    return await prometheus.number("up") == 1
                except httpx2.TransportError:
                    return False
                except ValueError:
                    return False  # not ready: answers in plain text

            try:
                await eventually(up)
                yield prometheus
            finally:
                process.terminate()
                server.stop()


@pytest.mark.debian
async def test_metrics_ledger_events_and_spans_agree(otlp: Any, tmp_path: Path) -> None:
    """What Prometheus has scraped, what the ledger holds, what the events sum to and what the spans say is the same."""
    organism = loaded_organism(tmp_path)
    heard: list[UsageEvent] = []
    organism.usage.subscribe(heard.append, UsageEvent)
    async with otel_exporting(organism, os.environ), organism, scraped(organism, tmp_path) as prometheus:
        await work(organism, 60)
        (month,) = [state for state in organism.budgets.states() if state.account.startswith("organism@month")]
        tokens, cost = month.spent.tokens, month.spent.cost_nanousd

        async def arrived() -> bool:
            return await prometheus.number("sum(organism_llm_tokens_total)") == tokens

        await eventually(arrived)
        for scope in ("organism@month", "organism@day", "thread"):
            spent = f'sum(organism_budget_spent_%s_total{{scope="{scope}"}})'
            assert await prometheus.number(spent % "tokens") == tokens
            assert round(await prometheus.number(spent % "usd") * NANOUSD_PER_USD) == cost
        assert await prometheus.number("sum(organism_llm_attempts_total)") == len(heard)
        assert await prometheus.number('organism_threads_total{outcome="opened"}') == 60
        calls = await prometheus.number('sum(organism_llm_attempts_total{outcome!="released"})')
        exemplars = await prometheus.client.get(
            "/api/v1/query_exemplars",
            params={"query": "gen_ai_client_operation_duration_seconds_bucket", "start": "0", "end": "9999999999"},
        )

    assert sum(event.usage.total for event in heard) == tokens > 0
    assert sum(event.cost_nanousd or 0 for event in heard) == cost > 0
    assert calls == month.spent.calls
    spans = [span for span in otlp.named("chat m") if span.events]  # the others were refused before they left
    used = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert sum(span.attributes[key] for span in spans for key in used) == tokens
    assert sum(span.attributes["organism.cost.nanousd"] for span in spans) == cost
    assert sum(len(span.events) for span in spans) == len(heard)
    assert otlp.total("organism.llm.tokens") == tokens
    assert round(otlp.total("organism.llm.cost") * NANOUSD_PER_USD) == cost
    assert len(otlp.named("invoke_workflow load")) == 60
    traces = {span.trace_id for span in otlp.spans}
    found = {item["labels"]["trace_id"] for series in exemplars.json()["data"] for item in series["exemplars"]}
    assert found
    assert found <= traces
    assert {event.trace_id for event in heard} <= traces


@pytest.mark.debian
async def test_every_panel_and_every_rule_works(tmp_path: Path) -> None:
    """No panel of the dashboard stays empty under load, and Prometheus takes every alert rule."""
    organism = loaded_organism(tmp_path)
    dashboard = json.loads((export(tmp_path / "shipped")[0]).read_text())
    panels = {panel["title"]: panel["targets"] for panel in dashboard["panels"] if panel["type"] != "row"}
    async with organism, scraped(organism, tmp_path) as prometheus:
        await work(organism, 40)

        async def first_part_arrived() -> bool:
            return await prometheus.number('organism_threads_total{outcome="opened"}') == 40

        await eventually(first_part_arrived)
        await work(organism, 40)
        empty: list[str] = []

        async def none_empty() -> bool:
            empty[:] = [
                f"{title}: {target['expr']}"
                for title, targets in panels.items()
                for target in targets
                if not await prometheus.query(runnable(target["expr"]))
            ]
            return not empty

        try:
            await eventually(none_empty)
        except TimeoutError:
            pytest.fail(f"no data for {empty}")
        loaded = (await prometheus.client.get("/api/v1/rules")).json()["data"]["groups"]
        for rule in [rule for group in loaded for rule in group["rules"]]:
            assert rule["health"] in ("ok", "unknown"), rule
            await prometheus.query(rule["query"])
    shipped = yaml.safe_load((tmp_path / ALERTS).read_text())
    wanted = {rule["alert"] for group in shipped["groups"] for rule in group["rules"]}
    assert {rule["name"] for group in loaded for rule in group["rules"]} == wanted


@pytest.mark.debian
async def test_first_trouble_raises_the_alarm(tmp_path: Path) -> None:
    """The very first dead letter and the very first refusal are seen by the rules that watch for them."""
    organism = loaded_organism(tmp_path)
    async with organism, scraped(organism, tmp_path) as prometheus:
        await organism.run("no room", limits=Limits(tokens=1))

        async def alarmed() -> bool:
            answer = (await prometheus.client.get("/api/v1/alerts")).json()
            names = {alert["labels"]["alertname"] for alert in answer["data"]["alerts"]}
            return {"OrganismDeadLetters", "OrganismCallsRefused"} <= names

        await eventually(alarmed)


def runnable(expression: str) -> str:
    """Fill in what Grafana fills in."""
    return expression.replace("$job", ".*").replace("$__rate_interval", "1m")


def test_queries_name_only_metrics_that_exist(tmp_path: Path) -> None:
    """A dashboard or a rule cannot ask for a metric that was renamed."""
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    known = {f"{i.prometheus_name}{suffix}" for i in catalogue("old") for suffix in suffixes}
    export(tmp_path)
    text = (tmp_path / DASHBOARD).read_text() + (tmp_path / ALERTS).read_text()
    asked = set(re.findall(r"\b(?:organism|gen_ai_client)_[a-z_]+(?=[{\[)])", text))
    assert len(asked) > 20
    assert asked <= known


def test_dashboard_can_be_provisioned(tmp_path: Path) -> None:
    """The dashboard is one JSON document with ids that are unique, as Grafana's provisioning wants it."""
    export(tmp_path)
    dashboard = json.loads((tmp_path / DASHBOARD).read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    assert dashboard["uid"] == "organism"


@pytest.mark.debian
def test_provisioning_example_is_right(tmp_path: Path) -> None:
    """The configuration in the documents is one that Prometheus takes, with the files where it says they are."""
    example = Path(__file__).parents[3] / "docs" / "observe"
    shutil.copytree(example, tmp_path / "observe")
    export(tmp_path / "observe" / "shipped")
    (tmp_path / "observe" / "token").write_text(TOKEN)
    command = ["promtool", "check", "config", str(tmp_path / "observe" / "prometheus.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    for path in example.rglob("*.yaml"):
        assert yaml.safe_load(path.read_text())
