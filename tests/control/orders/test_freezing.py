"""A freeze stops all spending at once, of every thread or of those with a label, and nothing is lost by it."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import Context, Limits, Organism, Text, ThreadResult, agent
from organism.budget.guards.freezes import labels_of
from organism.errors import BudgetExhaustedError, ConfigError, Refusal
from organism.messages import Message
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.usage.events import BudgetExceeded, SpendingFrozen, SpendingUnfrozen, ThreadBlocked, UsageEvent

ACME, OTHER = {"tenant": "acme"}, {"tenant": "other"}


@agent()
async def writer(message: Text, ctx: Context) -> Text:
    """Answer with one call."""
    return Text((await ctx.llm.complete(message.text, max_output_tokens=20)).text)


@agent(peers=("writer",))
async def holder(message: Text, ctx: Context) -> Text:
    """Spawn a child with a carved limit."""
    child = await ctx.spawn("writer", message, limits=Limits(tokens=500), budget="carved")
    return Text(child.outputs[0].text if isinstance(child.outputs[0], Text) else "")


def organism(provider: ScriptedProvider, *agents: Any, **options: Any) -> Organism:
    options.setdefault("clock", VirtualClock())
    return Organism(agents or (writer,), models={"m": "p/m"}, providers={"p": provider}, **options)


async def frozen(organism: Organism, thread: str) -> Refusal:
    """Wait until a thread waits for a freeze, and return what it was told."""
    with pytest.raises(BudgetExhaustedError) as caught:
        await organism.wait(thread)
    assert caught.value.shortfall.cause == "freeze"
    assert "frozen" in str(caught.value)
    return caught.value.shortfall


def said(result: ThreadResult) -> list[Message]:
    return list(result.outputs)


@pytest.mark.parametrize("mode", ["enforce", "audit", "off"])
@pytest.mark.parametrize("on_exhausted", ["park", "fail"])
def test_nothing_is_spent_under_a_freeze_in_any_mode(mode: Any, on_exhausted: Any) -> None:
    """A thread that needs a model waits, whatever a reached limit would mean, and goes on afterwards; none fails."""

    async def main() -> None:
        provider = ScriptedProvider(["done"])
        async with organism(provider, mode=mode, on_exhausted=on_exhausted) as running:
            seen: list[Any] = []
            running.usage.subscribe(seen.append, SpendingFrozen, SpendingUnfrozen, ThreadBlocked, BudgetExceeded)
            answer = await running.freeze(reason="it runs away")
            thread = await running.open_thread("hi")
            refusal = await frozen(running, thread)

            assert "python: it runs away" in refusal.note
            assert (answer.held.calls, provider.requests) == (0, [])
            assert [each.reason for each in running.control.status().freezes] == ["it runs away"]
            assert running.control.frozen().threads == (thread,)
            assert (await running.unfreeze()).freezes == ()
            assert said(await running.wait(thread)) == [Text("done")]
            kinds = [type(event).__name__ for event in seen]
            assert kinds == ["SpendingFrozen", "ThreadBlocked", "SpendingUnfrozen"]

    run(main)


def test_only_threads_with_the_label_wait() -> None:
    """A freeze of a label is about threads with it and their children; others spend, also behind it in line."""

    async def main() -> None:
        async with organism(ScriptedProvider(["done"]), holder, writer) as running:
            await running.freeze(label="tenant=acme")
            child = await running.open_thread("hi", labels=ACME)
            mine = await running.open_thread("hi", to="writer", labels=ACME | {"user": "u"})
            theirs = await running.open_thread("hi", to="writer", labels=OTHER)
            nobodys = await running.open_thread("hi")

            assert said(await running.wait(theirs)) == said(await running.wait(nobodys)) == [Text("done")]
            assert "tenant=acme" in (await frozen(running, mine)).note
            await frozen(running, child)
            assert running.budgets.budget(child).held.tokens == 0, "nothing is carved out under a freeze"
            still = await running.unfreeze()
            assert [each.scope for each in still.freezes] == ["tenant=acme"], "the freeze of a label is lifted by it"
            await running.unfreeze(label=ACME)
            assert said(await running.wait(mine)) == said(await running.wait(child)) == [Text("done")]

    run(main)


def test_a_thread_goes_on_only_when_no_freeze_covers_it_any_more() -> None:
    """Two freezes of one thread are two: lifting one changes nothing for it."""

    async def main() -> None:
        async with organism(ScriptedProvider(["done"])) as running:
            await running.freeze()
            await running.freeze(label=ACME)
            thread = await running.open_thread("hi", labels=ACME)
            await frozen(running, thread)
            await running.unfreeze()
            await anyio.sleep(1)
            assert "tenant=acme" in (await frozen(running, thread)).note
            await running.unfreeze("tenant=acme")
            assert said(await running.wait(thread)) == [Text("done")]

    run(main)


def test_calls_under_way_finish_and_are_charged() -> None:
    """The order says what they hold; what they cost is charged as ever, and their answer is used."""

    async def main() -> None:
        async with organism(ScriptedProvider([ScriptedAnswer(text="late", latency_s=5)])) as running:
            thread = await running.open_thread("hi")
            await anyio.sleep(1)
            answer = await running.freeze()
            assert (answer.held.calls, answer.cancelled) == (1, 0)
            assert answer.held.tokens == running.budgets.budget(thread).held.tokens > 20
            result = await running.wait(thread)
            assert (said(result), result.budget.spent.calls) == ([Text("late")], 1)

    run(main)


def test_calls_under_way_can_be_closed_and_are_made_again_afterwards() -> None:
    """A closed call is charged as one whose caller has gone; its thread waits, has not failed, and asks again."""

    async def main() -> None:
        provider = ScriptedProvider([ScriptedAnswer(text="late", latency_s=50), "again"])
        async with organism(provider) as running:
            seen: list[UsageEvent] = []
            running.usage.subscribe(seen.append, UsageEvent)
            thread = await running.open_thread("hi")
            await anyio.sleep(1)
            answer = await running.freeze(cancel=True)
            assert answer.cancelled == 1
            await frozen(running, thread)
            assert anyio.current_time() < 10
            assert running.budgets.budget(thread).held.calls == 0
            await running.unfreeze()
            result = await running.wait(thread)
            assert (said(result), result.budget.spent.calls) == ([Text("again")], 2)
            assert [event.outcome for event in seen] == ["worst_case", "settled"]
            assert running.dead_letters() == ()

    run(main)


def test_calls_in_line_and_calls_that_wait_for_their_provider_do_not_leave() -> None:
    """What holds or waits and has not left is stopped as well, and gives back what it holds."""

    async def main() -> None:
        from organism.router.call import RouterSettings
        from organism.router.limits.provider_settings import ProviderSettings

        provider = ScriptedProvider([ScriptedAnswer(text="one", latency_s=5)])
        settings = RouterSettings(providers={"p": ProviderSettings(concurrency=1)})
        async with organism(provider, router=settings) as running:
            first = await running.open_thread("hi")
            await anyio.sleep(1)
            second = await running.open_thread("hi")
            await anyio.sleep(1)
            await running.freeze()
            assert said(await running.wait(first)) == [Text("one")]
            await frozen(running, second)
            assert len(provider.requests) == 1
            assert running.budgets.budget(second).held.calls == 0
            await running.unfreeze()
            assert said(await running.wait(second)) == [Text("one")]

    run(main)


def test_what_waits_in_line_for_siblings_is_answered_at_once() -> None:
    """A call in line for room is refused by the freeze in the same step, not after its patience."""

    async def main() -> None:
        provider = ScriptedProvider([ScriptedAnswer(text="one", latency_s=20)])
        async with organism(provider, limits=Limits(calls=1, tokens=10_000)) as running:
            budgets = running.budgets
            budgets.open_thread("job", limits=Limits(tokens=100), labels=ACME)
            async with budgets.hold("job", tokens=90), anyio.create_task_group() as tasks:
                refused: list[float] = []

                async def wait() -> None:
                    with pytest.raises(BudgetExhaustedError, match="frozen"):
                        async with budgets.hold("job", tokens=50):
                            pass
                    refused.append(anyio.current_time())

                tasks.start_soon(wait)
                await anyio.sleep(2)
                await running.freeze(label=ACME)
                await anyio.sleep(1)
                assert refused == [pytest.approx(2, abs=0.5)]
            budgets.cleanup_thread("job")

    run(main)


def test_a_freeze_outlasts_the_process(tmp_path: Path) -> None:
    """After a restart it is in force as it was, with who and why; its threads wait, and go on when it is lifted."""
    path = tmp_path / "journal.db"

    def journal() -> SqliteJournal:
        return SqliteJournal(path)

    async def before() -> str:
        async with organism(ScriptedProvider(["done"]), journal=journal()) as running:
            await running.freeze(label=ACME, reason="invoice", cancel=False)
            thread = await running.open_thread("hi", labels=ACME)
            await frozen(running, thread)
            return thread

    async def after(thread: str) -> None:
        provider = ScriptedProvider(["done"])
        async with organism(provider, journal=journal()) as running:
            (freeze,) = running.control.status().freezes
            assert (freeze.labels, freeze.by, freeze.reason) == (ACME, "python", "invoice")
            fresh = await running.open_thread("hi", labels=ACME)
            await frozen(running, fresh)
            await frozen(running, thread)
            assert provider.requests == []
            await running.unfreeze(label=ACME)
            assert said(await running.wait(thread)) == said(await running.wait(fresh)) == [Text("done")]

    async def lifted() -> None:
        async with organism(ScriptedProvider(["done"]), journal=journal()) as running:
            assert running.control.status().freezes == ()

    thread = anyio.run(before)
    anyio.run(after, thread)
    anyio.run(lifted)


def test_the_same_freeze_again_changes_nothing() -> None:
    """Who froze it first, and why, stays; the event is told once."""

    async def main() -> None:
        async with organism(ScriptedProvider(["done"])) as running:
            seen: list[Any] = []
            running.usage.subscribe(seen.append, SpendingFrozen, SpendingUnfrozen)
            await running.freeze(reason="first")
            again = await running.freeze(reason="second")
            assert [each.reason for each in again.freezes] == ["first"]
            await running.unfreeze()
            await running.unfreeze()
            assert [type(event).__name__ for event in seen] == ["SpendingFrozen", "SpendingUnfrozen"]

    run(main)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        (None, {}),
        ("tenant=acme", ACME),
        ("label=tenant=acme", ACME),
        ("url=https://a?b=c", {"url": "https://a?b=c"}),
        ("label=acme", {"label": "acme"}),
        (["tenant=acme", "user=u"], {"tenant": "acme", "user": "u"}),
        (ACME, ACME),
    ],
)
def test_labels_are_read_as_people_write_them(written: Any, labels: dict[str, str]) -> None:
    """One, several, or a mapping; a value may hold what it likes."""
    assert labels_of(written) == labels


@pytest.mark.parametrize("written", ["acme", "=acme", "tenant=", ["tenant=acme", ""], {"tenant": 1}, [7]])
def test_what_is_no_label_is_refused(written: Any) -> None:
    """A slip must not freeze everything."""
    if written == ["tenant=acme", ""]:
        written = [" ", "tenant=acme"]
    with pytest.raises(ConfigError, match="name=value"):
        labels_of(written)
