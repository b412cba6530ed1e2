"""Whoever listens hears everything, and nobody who listens badly can do harm."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from organism.amounts import UNLIMITED, ZERO, Amounts, BudgetState, TokenUsage
from organism.testing import run
from organism.usage.events import STORED, AgentSaid, AnyEvent, ThreadClosed, ThreadOpened, UsageEvent
from organism.usage.run_report import build_report
from organism.usage.totals import RunningTotals
from organism.usage.tracker import SlowConsumerError, UsageTracker


def used(agent: str = "writer", *, tokens: int = 10, latency_ms: int = 100, **fields: object) -> UsageEvent:
    defaults = {
        "thread_id": "t",
        "root_thread_id": "t",
        "call_id": "c",
        "attempt": 1,
        "provider": "p",
        "model": "main",
        "request_model": "m",
        "response_model": "m",
        "usage": TokenUsage(input=tokens, output=tokens),
        "cost_nanousd": 5,
        "price_source": "test",
        "latency_ns": latency_ms * 1_000_000,
        "outcome": "settled",
    }
    return UsageEvent(agent=agent, **(defaults | fields))  # type: ignore[arg-type]


def test_subscriber_hears_everything_from_its_first_moment() -> None:
    """What happens between subscribing and listening is not missed, and the end is the end."""

    async def main() -> None:
        tracker = UsageTracker()
        subscription = tracker.subscribe(UsageEvent)
        for number in range(100):
            tracker.publish(used(call_id=str(number)))
        tracker.publish(ThreadOpened(entry="writer"))
        tracker.close()
        has_subscribers = [event.call_id async for event in subscription if isinstance(event, UsageEvent)]
        assert has_subscribers == [str(number) for number in range(100)]

    run(main)


def test_two_readers_of_one_subscription_both_go_on_and_both_end() -> None:
    """Each event goes to one of them, and neither waits for ever because the other began to wait after it."""

    async def main() -> None:
        tracker = UsageTracker()
        subscription, heard, ended = tracker.subscribe(UsageEvent), list[str](), list[str]()

        async def read(name: str) -> None:
            async for event in subscription:
                assert isinstance(event, UsageEvent)
                heard.append(event.call_id)
            ended.append(name)

        async with anyio.create_task_group() as readers:
            readers.start_soon(read, "one")
            readers.start_soon(read, "two")
            for number in range(4):
                await anyio.sleep(1)
                tracker.publish(used(call_id=str(number)))
            await anyio.sleep(1)
            tracker.close()
        assert heard == ["0", "1", "2", "3"]
        assert sorted(ended) == ["one", "two"]

    run(main)


def test_who_begins_to_listen_after_the_end_is_told_that_it_is_over() -> None:
    """Nothing will come any more; who iterated would else wait for it without end."""

    async def main() -> None:
        tracker = UsageTracker()
        tracker.close()
        assert [event async for event in tracker.subscribe()] == []
        assert tracker.statistics().subscribers == 0

    run(main)


def test_slow_subscriber_is_cut_off_after_what_it_has() -> None:
    """A subscriber that does not keep up is told so, instead of growing without bound or losing events in silence."""

    async def main() -> None:
        tracker = UsageTracker()
        subscription = tracker.subscribe(capacity=3)
        for _ in range(10):
            tracker.publish(used())
        has_subscribers = 0

        async def listen() -> None:
            nonlocal has_subscribers
            async for _ in subscription:
                has_subscribers += 1

        with pytest.raises(SlowConsumerError, match="more than 3 events behind"):
            await listen()
        assert has_subscribers == 3
        assert tracker.statistics().subscribers == 0
        assert tracker.statistics().cut_off == 1

    run(main)


def test_subscription_of_a_thread_hears_its_descendants_too() -> None:
    """Following a thread follows its children."""

    async def main() -> None:
        tracker = UsageTracker()
        async with tracker.subscribe(thread_id="root") as subscription:
            for thread, root in (("root", "root"), ("child", "root"), ("other", "other")):
                tracker.publish(used(thread_id=thread, root_thread_id=root))
            tracker.close()
            assert [event.thread_id async for event in subscription] == ["root", "child"]

    run(main)


def test_callback_that_raises_harms_nobody() -> None:
    """A listener's bug is counted and logged; the others hear everything all the same."""
    tracker = UsageTracker()
    has_subscribers: list[object] = []

    def broken(_event: object) -> None:
        raise ValueError("listener's bug")

    tracker.subscribe(broken)
    stop = tracker.subscribe(has_subscribers.append)
    tracker.publish(used())
    stop()
    tracker.publish(used())

    assert len(has_subscribers) == 1
    assert tracker.statistics().callback_errors == 2


def test_it_is_known_which_kinds_of_events_somebody_listens_to() -> None:
    """An event that is made only for listeners is made while one of them wants its kind, and not a moment longer."""
    tracker = UsageTracker()
    assert not tracker.has_subscribers(AgentSaid)
    tracker.subscribe(lambda _event: None, *STORED)
    assert tracker.has_subscribers(UsageEvent)
    assert not tracker.has_subscribers(AgentSaid)

    stop = tracker.subscribe(lambda _event: None)
    assert tracker.has_subscribers(AgentSaid)
    stop()
    assert not tracker.has_subscribers(AgentSaid)

    async def subscribed() -> None:
        async with tracker.subscribe(AgentSaid):
            assert tracker.has_subscribers(AgentSaid)
        tracker.subscribe(AgentSaid)
        tracker.close()

    run(subscribed)
    assert not tracker.has_subscribers(AgentSaid)


def test_sums_by_agent_model_and_thread_make_up_the_total() -> None:
    """However it is cut, the parts make up the whole."""
    tracker = UsageTracker()
    for agent, model, thread in (("a", "m1", "t1"), ("b", "m1", "t2"), ("a", "m2", "t1")):
        tracker.publish(used(agent, model=model, thread_id=thread))
    tracker.publish(used("a", outcome="released", usage=TokenUsage()))

    assert tracker.total.calls == 3
    assert tracker.total.attempts == 4
    for cut in (tracker.by_agent(), tracker.by_model(), tracker.by_thread()):
        assert sum(part.usage.total for part in cut.values()) == tracker.total.usage.total == 60
        assert sum(part.cost_nanousd for part in cut.values()) == tracker.total.cost_nanousd == 15


def test_unknown_cost_is_not_zero() -> None:
    """A call without a price is counted as one, so that a sum says it is a lower bound."""
    tracker = UsageTracker()
    tracker.publish(used(cost_nanousd=None))

    assert tracker.total.unpriced_calls == 1


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_percentiles_are_exact_to_fifteen_per_cent(latencies_ms: list[int]) -> None:
    """Latency percentiles need no memory of each call and are off by at most their bucket."""
    totals = RunningTotals()
    for latency in latencies_ms:
        totals.add(used(latency_ms=latency))
    found = totals.snapshot().latency
    ordered = sorted(latencies_ms)
    true_p95 = ordered[-(-len(ordered) * 95 // 100) - 1] * 1_000_000

    assert true_p95 <= found.p95_ns <= true_p95 * 1.16
    assert found.max_ns == ordered[-1] * 1_000_000
    assert found.average_ns == sum(latencies_ms) * 1_000_000 // len(latencies_ms)


def test_closed_threads_are_forgotten_but_stay_in_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by threads kept, not by threads ever opened, and no token is lost from the total."""
    monkeypatch.setattr("organism.usage.tracker._THREADS_KEPT", 5)
    tracker = UsageTracker()
    for number in range(20):
        tracker.publish(used(thread_id=f"t{number}"))
        state = BudgetState(f"thread:t{number}", UNLIMITED, ZERO, ZERO)
        tracker.publish(ThreadClosed(thread_id=f"t{number}", outcome="completed", budget=state))

    assert len(tracker.by_thread()) == 5
    assert tracker.total.calls == 20


def test_report_shares_and_ratios() -> None:
    """The report of a run says who used how much of it."""
    events = [used("a", tokens=30), used("b", tokens=10)]

    report = build_report(events, "t")

    assert [(line.agent, line.share_permille) for line in report.agents] == [("a", 750), ("b", 250)]
    halves = build_report([used("a", tokens=225), used("b", tokens=151)], "t")
    assert [line.share_permille for line in halves.agents] == [598, 402]  # rounded, so that they make a whole
    assert report.largest_agent == "a"
    assert report.average_agent_tokens == 40
    assert report.output_percent == 100
    assert report.largest_prompt_tokens == 30


def test_report_has_the_last_word_on_each_account() -> None:
    """The thread's own budget comes first, its children's are part of it, and shared ones are as last seen."""

    def state(account: str, tokens: int) -> BudgetState:
        return BudgetState(account, UNLIMITED, Amounts(tokens, 0, 1), ZERO)

    events: list[AnyEvent] = [
        used(budgets=(state("organism@day:2026-01-01", 1), state("thread:t", 1))),
        used(thread_id="child", budgets=(state("thread:child", 2), state("thread:t", 3), state("agent:a@thread:t", 2))),
        ThreadClosed(thread_id="child", root_thread_id="t", outcome="completed", budget=state("thread:child", 2)),
    ]

    now = build_report(events, "t", [state("organism@day:2026-01-01", 9)]).budgets

    assert [(budget.account, budget.spent.tokens) for budget in now] == [
        ("thread:t", 3),
        ("organism@day:2026-01-01", 9),
        ("agent:a@thread:t", 2),
    ]
