"""What a scraper sees: the right names, the same totals as the ledger, and never more series than promised."""

import re
import tracemalloc

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from organism import BudgetPlan, BudgetWarning, Context, Limits, Organism, Text, TokenUsage, agent
from organism.amounts import NANOUSD_PER_USD, Amounts
from organism.budget.scopes import LabelLimits, ScopedLimits
from organism.clock import utc
from organism.errors import RejectedError
from organism.pricing.book import PriceBook
from organism.pricing.rates import flat_rates
from organism.telemetry.conventions import Conventions, genai_names
from organism.telemetry.metrics import instruments
from organism.telemetry.metrics.cardinality import CardinalityLimit
from organism.telemetry.metrics.instruments import catalogue
from organism.telemetry.metrics.metric_mapping import measure_event
from organism.telemetry.metrics.prometheus import PrometheusExporter
from organism.telemetry.metrics.prometheus_series import CountedMetric
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import AnyEvent, ApprovalDecided, ApprovalRequested, OperatorAction, PartitionMoved

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@agent(next="reviewer")
async def writer(message: Text | BudgetWarning, ctx: Context) -> Text | None:
    if isinstance(message, BudgetWarning):
        return None
    answer = await ctx.llm.complete(message.text, max_output_tokens=20)
    return Text(answer.text)


@agent()
async def reviewer(message: Text, ctx: Context) -> Text:
    ctx.report("review", "passed" if "three" in message.text else "rejected")
    return message


def priced(script: object = ("one two three",), **options: object) -> Organism:
    clock = VirtualClock()
    rates = flat_rates(input=3_000_000_001, output=7_000_000_003, source="test")
    return Organism(
        [writer, reviewer],
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(script)},  # type: ignore[arg-type]
        prices=PriceBook({"scripted/m": rates}, now=lambda: utc(clock)),
        clock=clock,
        **options,  # type: ignore[arg-type]
    )


def samples(exporter: PrometheusExporter) -> list[Sample]:
    """Return all samples of the OpenMetrics answer."""
    content_type, body = exporter.render(OPEN_METRICS)
    assert content_type.startswith("application/openmetrics-text")
    return [sample for family in text_string_to_metric_families(body.decode()) for sample in family.samples]


def value(found: list[Sample], name: str, /, **labels: str) -> float:
    """Return the sum of the samples of a name that have these labels."""
    matching = [s.value for s in found if s.name == name and labels.items() <= s.labels.items()]
    assert matching, (name, labels)
    return sum(matching)


def test_totals_are_the_ledgers_totals() -> None:
    """Dollars and tokens in the metrics are those of the ledger, to the last nano-dollar."""

    async def main() -> None:
        plan = BudgetPlan(thread=Limits(tokens=10_000), windows={"day": Limits(cost_nanousd=NANOUSD_PER_USD)})
        organism = priced(limits=plan)
        exporter = PrometheusExporter(organism)
        async with organism:
            for number in range(20):
                await organism.run(f"text {'word ' * number}")
            found = samples(exporter)
            (day,) = [state for state in organism.budgets.states() if state.account.startswith("organism@day")]
        for scope in ("organism@day", "thread"):
            of = {"scope": scope, "agent": "writer", "model": "main"}
            usd = value(found, "organism_budget_spent_usd_total", **of)
            assert round(usd * NANOUSD_PER_USD) == day.spent.cost_nanousd
            assert value(found, "organism_budget_spent_tokens_total", **of) == day.spent.tokens
        assert value(found, "organism_budget_limit_usd", scope="organism@day") == 1
        utilization = value(found, "organism_budget_utilization_ratio", scope="organism@day", dimension="usd")
        assert utilization == pytest.approx(day.spent.cost_nanousd / NANOUSD_PER_USD)
        assert value(found, "organism_threads_total", outcome="completed") == 20
        assert value(found, "organism_messages_total", agent="reviewer") == 20
        assert value(found, "organism_decisions_total", agent="reviewer", name="review", result="passed") == 20
        assert value(found, "gen_ai_client_operation_duration_seconds_count", gen_ai_provider_name="scripted") == 20

    run(main)


def test_limits_in_calls_and_warnings_ahead_are_seen() -> None:
    """Calls are counted like tokens and dollars, by as many scopes as the plan has; and how early warnings came."""

    async def main() -> None:
        tenants = LabelLimits(each=ScopedLimits(Limits(calls=5), "day"))
        organism = priced(
            limits=BudgetPlan(
                thread=Limits(tokens=100_000), windows={"day": Limits(calls=40)}, labels={"tenant": tenants}
            )
        )
        exporter = PrometheusExporter(organism)
        async with organism:
            for number in range(30):
                await organism.run("text", labels={"tenant": f"t{number % 10}"})
            found = samples(exporter)
            (day,) = [state for state in organism.budgets.states() if state.account.startswith("organism@day")]
        for scope, limit in (("organism@day", 40), ("label:tenant@day", 5)):
            spent = value(found, "organism_budget_spent_calls_total", scope=scope, agent="writer", model="main")
            assert (spent, value(found, "organism_budget_limit_calls", scope=scope)) == (day.spent.calls, limit)
            assert value(found, "organism_budget_reserved_calls", scope=scope) == 0
            of_scope = [sample for sample in found if sample.labels.get("scope") == scope]
            assert len([sample for sample in of_scope if sample.name == "organism_budget_limit_calls"]) == 1
        assert value(found, "organism_budget_warning_calls_left_count", dimension="calls") == 10
        assert value(found, "organism_budget_warning_calls_left_sum", dimension="calls") == 20

    run(main)


def test_corrected_totals_are_still_the_ledgers_totals() -> None:
    """What corrections add and take off is counted beside what was settled; together they are the ledger."""

    async def main() -> None:
        plan = BudgetPlan(thread=Limits(tokens=10_000), windows={"day": Limits(cost_nanousd=NANOUSD_PER_USD)})
        organism = priced(limits=plan)
        exporter = PrometheusExporter(organism)
        async with organism:
            await organism.run("text")
            (day,) = [state.account for state in organism.budgets.states() if state.account.startswith("organism@day")]
            await organism.control.adjust_budget(day, Amounts(9, 500_000), "invoice 9")
            await organism.control.adjust_budget(day, Amounts(-2, -1_000), "refund 17")
            found = samples(exporter)
            spent = organism.budgets.state(day).spent

        def total(name: str) -> float:
            added, removed = (
                value(found, f"organism_budget_adjusted_{name}", scope="organism@day", direction=direction)
                for direction in ("added", "removed")
            )
            return value(found, f"organism_budget_spent_{name}", scope="organism@day") + added - removed

        assert round(total("usd_total") * NANOUSD_PER_USD) == spent.cost_nanousd
        assert total("tokens_total") == spent.tokens

    run(main)


def test_embeddings_are_told_apart_from_conversations() -> None:
    """What is spent on vectors is counted with all else, under an operation of its own."""

    @agent()
    async def reader(message: Text, ctx: Context) -> None:
        await ctx.llm.embed([message.text])
        await ctx.llm.complete(message.text)

    async def main() -> None:
        organism = Organism(
            [reader],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider()},
            provider_kinds={"scripted": "local"},
            clock=VirtualClock(),
        )
        exporter = PrometheusExporter(organism)
        async with organism:
            await organism.run("one two three")
            found = samples(exporter)
        for operation in ("embeddings", "chat"):
            of = {"gen_ai_operation_name": operation, "gen_ai_token_type": "input"}
            assert value(found, "gen_ai_client_token_usage_sum", **of) == 3
        assert value(found, "organism_budget_spent_tokens_total", scope="thread", agent="reader") == 7

    run(main)


def test_trouble_is_counted() -> None:
    """Warnings, refusals, retries, restarts, unsure settlements and dead letters all show up under their names."""

    @agent()
    async def broken(message: Text, ctx: Context) -> None:
        raise RuntimeError("no luck")

    async def main() -> None:
        again = RejectedError("scripted", "busy", again=True)
        script = [
            ScriptedAnswer(error=again),
            ScriptedAnswer(text="w", usage=TokenUsage(input=150, output=16)),
            ScriptedAnswer(text="two", report_usage=False),
        ]
        organism = Organism(
            [writer, reviewer, broken],
            models={"main": "scripted/m"},
            providers={"scripted": ScriptedProvider(script)},
            provider_kinds={"scripted": "local"},
            limits=Limits(tokens=200),
            on_exhausted="fail",
            clock=VirtualClock(),
        )
        exporter = PrometheusExporter(organism)
        async with organism:
            await organism.run("a b c d")
            await organism.run("a b")
            await organism.run("long " * 1000)
            await organism.run("x", to="broken")
            found = samples(exporter)
        for name, labels, expected in (
            ("organism_llm_retries_total", {"agent": "writer", "provider": "scripted"}, 1),
            ("organism_budget_incomplete_settlements_total", {"outcome": "estimated"}, 1),
            ("organism_budget_refusals_total", {"reason": "exhausted", "dimension": "tokens"}, 1),
            ("organism_budget_warnings_total", {"threshold": "75", "dimension": "tokens"}, 3),
            ("organism_dead_letters_total", {"reason": "handler_failed"}, 1),
            ("organism_handler_restarts_total", {"agent": "broken"}, 4),
            ("organism_threads_total", {"outcome": "failed"}, 2),
        ):
            assert value(found, name, **labels) == expected, name

    run(main)


def test_exemplars_carry_the_trace() -> None:
    """A bucket of the latency histogram leads to a trace of a call that fell into it."""

    async def main() -> None:
        organism = priced()
        exporter = PrometheusExporter(organism)
        async with organism:
            trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
            await organism.wait(await organism.open_thread("hello", trace=trace))
            found = samples(exporter)
        exemplars = [s.exemplar for s in found if s.name == "gen_ai_client_operation_duration_seconds_bucket"]
        assert "ab" * 16 in [exemplar.labels["trace_id"] for exemplar in exemplars if exemplar is not None]

    run(main)


def test_series_are_bounded_whatever_agents_report() -> None:
    """Words that vary without end are counted under one label, and no thread's id is a label."""

    @agent()
    async def chatty(message: Text, ctx: Context) -> None:
        for number in range(40):
            ctx.report("choice", f"{message.text}-{number}")

    async def main() -> None:
        organism = Organism([chatty])
        exporter = PrometheusExporter(organism, series_max=50)
        async with organism:
            threads = [await organism.open_thread(f"run {number}") for number in range(10)]
            for thread in threads:
                await organism.wait(thread)
            body = exporter.render()[1].decode()
        series = [line for line in body.splitlines() if line.startswith("organism_decisions_total")]
        assert len(series) == 51
        assert sum(float(line.rsplit(" ", 1)[1]) for line in series) == 400
        assert not any(thread in body for thread in threads)

    run(main)


def test_words_without_end_do_not_fill_the_memory() -> None:
    """What is counted under ``other`` leaves nothing behind, however often another word comes."""
    instrument = next(each for each in catalogue("old") if each.name == instruments.DECISIONS.name)
    metric = CountedMetric(instrument, CardinalityLimit(50))

    def report(numbers: range) -> int:
        before, _ = tracemalloc.get_traced_memory()
        for number in numbers:
            metric.take(1, ("chatty", "choice", f"order {number}"), None)
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        report(range(100))
        assert report(range(100, 10_100)) < 10_000
    finally:
        tracemalloc.stop()


def test_new_names_come_with_the_official_opt_in() -> None:
    """The GenAI names change with OpenTelemetry's own variable, and both sets are never there together."""

    async def main(opt_in: str) -> set[str]:
        organism = priced()
        exporter = PrometheusExporter(organism, names=genai_names({"OTEL_SEMCONV_STABILITY_OPT_IN": opt_in}))
        async with organism:
            await organism.run("hello")
            return {sample.name for sample in samples(exporter) if sample.name.startswith("gen_ai")}

    old = run(main, "")
    new = run(main, "http, gen_ai_latest_experimental")
    assert "gen_ai_client_token_usage_count" in old
    assert "gen_ai_client_inference_usage_input_tokens_total" in new
    assert not old & new


def test_names_follow_the_rules() -> None:
    """Every metric has a sentence and a name that Prometheus takes, and no two share one."""
    for opt_in in ("old", "new"):
        all_of_them = list(catalogue(opt_in))  # type: ignore[arg-type]
        names = [instrument.prometheus_name for instrument in all_of_them]
        assert len(names) == len(set(names))
        for instrument in all_of_them:
            assert re.fullmatch(r"[a-z_]+", instrument.prometheus_name)
            assert instrument.help.endswith(".")
            assert not any("thread" in label for label in instrument.labels)


def test_providers_have_the_names_the_conventions_give_them() -> None:
    """A provider goes by its well-known name whatever the configuration calls it; one without goes by its own."""
    named = Conventions(kinds={"claude": "anthropic", "grok": "x-ai", "smol": "local"})

    assert [named.provider(name) for name in ("claude", "grok", "smol", "own")] == ["anthropic", "x_ai", "smol", "own"]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ApprovalRequested(agent="a", approval_id="1", what="pay"), (instruments.APPROVALS, ("a", "requested"))),
        (
            ApprovalDecided(agent="a", approval_id="1", what="pay", allowed=False),
            (instruments.APPROVALS, ("a", "denied")),
        ),
        (OperatorAction(by="ops", action="budget.limits"), (instruments.OPERATOR_ACTIONS, ("budget.limits",))),
        (
            PartitionMoved(partition=3, change="lost", node="a", owners=7),
            (instruments.PARTITION_MOVES, ("lost",)),
        ),
    ],
)
def test_what_people_and_nodes_do_is_counted(event: AnyEvent, expected: tuple[object, tuple[str, ...]]) -> None:
    """Approvals by their outcome, orders and moves of partitions by their kind, without saying who or what about."""
    (measured,) = measure_event(event, Conventions())

    assert (measured.instrument, measured.labels) == expected
