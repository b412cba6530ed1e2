"""Other parts in a running organism: in one step, nothing lost, everything under way to its end with what it has."""

import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from organism import Agent, BudgetPlan, Context, Gathered, Limits, Organism, Text, To, agent
from organism.agents.agent import Output
from organism.control.components import OrganismSpec
from organism.control.reload import apply_spec
from organism.errors import ConfigError, ProviderError, RejectedError, StoppedError
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderSink
from organism.llm.provider import Provider
from organism.llm.requests import CompletionRequest
from organism.messages import Message
from organism.router.call import RouterSettings
from organism.router.limits.circuit import CircuitSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.planning.plan import model_plan
from organism.runtime.bounds import Bounds
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedAnswer, ScriptedProvider, VirtualClock, run
from organism.testing.audit import audit_journal
from organism.usage.events import ThreadClosed, UsageEvent
from tests.tool_server import ToolServer

ASK = "go"


class Watched(ScriptedProvider):
    """A scripted provider that knows whether it was closed, and whether it was asked after that."""

    def __init__(self, says: str, latency_s: float = 0.0, error: ProviderError | None = None) -> None:
        super().__init__([ScriptedAnswer(text=says, latency_s=latency_s, error=error)], name="p")
        self.under_way = 0
        self.most = 0
        self.closed = False

    async def complete(self, request: CompletionRequest, on_text: ProviderSink | None = None) -> Completion:
        assert not self.closed, "a closed provider was asked"
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            return await super().complete(request, on_text)
        finally:
            self.under_way -= 1

    async def aclose(self) -> None:
        assert not self.under_way, "a provider was closed in the middle of a call"
        assert not self.closed, "a provider was closed twice"
        self.closed = True


def caller(says: str, model: str = "main", next_: tuple[str, ...] = (), name: str = "writer") -> Agent:
    """Return an agent that asks a model and says its own name for itself before the answer."""

    async def handle(message: Text, ctx: Context) -> Text:
        answer = await ctx.llm.complete(message.text, model=model, max_output_tokens=5)
        return Text(f"{says}: {answer.text}")

    return Agent(name=name, handler=handle, accepts=(Text,), next=next_)


def parts(agents: list[Agent], provider: Provider, **changes: Any) -> OrganismSpec:
    """Return the parts of an organism with one provider and one model."""
    usual: dict[str, Any] = {
        "agents": tuple(agents),
        "tool_servers": (),
        "messages": (),
        "models": {"main": model_plan("main", "p/m")},
        "providers": {"p": provider},
        "provider_kinds": {"p": "local"},
        "prices": {},
        "unpriced_rates": None,
        "limits": BudgetPlan(thread=Limits(tokens=10_000)),
        "router": RouterSettings(),
        "bounds": Bounds(),
        "name": "organism",
        "entry": agents[0].name,
        "mode": "enforce",
        "thresholds": (75, 90, 95),
        "on_exhausted": "park",
        "wait_s": 30.0,
    }
    return OrganismSpec(**(usual | changes))


def organism(agents: list[Agent], provider: Provider, **changes: Any) -> Organism:
    """Return an organism of these parts, in virtual time."""
    usual: dict[str, Any] = {
        "models": {"main": "p/m"},
        "providers": {"p": provider},
        "provider_kinds": {"p": "local"},
        "limits": Limits(tokens=10_000),
        "clock": VirtualClock(),
    }
    return Organism(agents, **(usual | changes))


def in_virtual_time(scenario: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Make a test of a coroutine function."""

    def test() -> None:
        run(scenario)

    test.__doc__ = scenario.__doc__
    return test


@in_virtual_time
async def test_a_run_finishes_with_what_it_began_with_and_the_next_goes_by_the_new() -> None:
    """The call under way is answered, and charged, by its provider, which is closed then and not before."""
    old, new = Watched("old", latency_s=10), Watched("new")
    async with organism([caller("first")], old) as it:
        under_way = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("second")], new))
        await it.send(under_way, ASK)
        await anyio.sleep(1)
        assert (old.closed, it.ledger.open_holds != ()) == (False, True)
        result = await it.wait(under_way)
        assert result.outputs == (Text("first: old"), Text("second: new"))
        assert result.budget.spent.calls == 2
        await anyio.lowlevel.checkpoint()
        assert old.closed
    assert new.closed


@in_virtual_time
async def test_a_call_that_failed_is_tried_again_with_the_provider_in_force() -> None:
    """Between two attempts a call is planned anew; its first provider is not asked again."""
    old, new = Watched("never", error=RejectedError("p", "overloaded", again=True, retry_after_s=20)), Watched("new")
    async with organism([caller("writer")], old) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("writer")], new))
        result = await it.wait(thread)
        assert result.outputs == (Text("writer: new"),)
        assert anyio.current_time() >= 20, "what its provider asked for is kept to"
    assert (len(old.requests), old.closed) == (1, True)


@in_virtual_time
async def test_a_call_that_waits_for_a_dead_provider_goes_to_its_successor_at_once() -> None:
    """A configuration that replaces a provider which is down is the cure, without waiting for its circuit."""
    down = RejectedError("p", "down", again=True)
    resting = RouterSettings(providers={"p": ProviderSettings(circuit=CircuitSettings(failures=1, open_s=200))})
    old, new = Watched("never", error=down), Watched("new")
    async with organism([caller("writer")], old, router=resting) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(60)
        assert it.thread(thread).status == "open"
        it.control.apply_spec(parts([caller("writer")], new))
        assert (await it.wait(thread)).outputs == (Text("writer: new"),)
        assert anyio.current_time() < 61


@in_virtual_time
async def test_a_provider_that_stays_keeps_its_places_when_their_number_changes() -> None:
    """Lowering the concurrency counts the calls that are under way, so it is never exceeded by new ones."""
    it_is = Watched("yes", latency_s=10)
    settings = RouterSettings(providers={"p": ProviderSettings(concurrency=3)})
    async with organism([caller("writer")], it_is, router=settings) as it:
        for _ in range(6):
            await it.open_thread(ASK)
        await anyio.sleep(1)
        assert it_is.under_way == 3
        one = RouterSettings(providers={"p": ProviderSettings(concurrency=1)})
        it.control.apply_spec(parts([caller("writer")], it_is, router=one))
        await anyio.sleep(10)
        assert it_is.under_way == 1
        two = RouterSettings(providers={"p": ProviderSettings(concurrency=2)})
        it.control.apply_spec(parts([caller("writer")], it_is, router=two))
        await anyio.sleep(1)
        assert it_is.under_way == 2, "a waiting call is let in when there is a place more"
        assert await it.drain(100)
        assert not it_is.closed


@in_virtual_time
async def test_calls_of_a_thread_at_a_time_follow_the_configuration() -> None:
    """A thread that is at work is given more or fewer places too."""
    it_is = Watched("yes", latency_s=10)

    @agent()
    async def wide(message: Text, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(ctx.llm.complete, f"{number}")

    async with organism([wide], it_is, router=RouterSettings(calls_in_flight=1)) as it:
        await it.open_thread(ASK)
        await anyio.sleep(1)
        assert it_is.under_way == 1
        it.control.apply_spec(parts([wide], it_is, router=RouterSettings(calls_in_flight=3)))
        await anyio.sleep(1)
        assert it_is.under_way == 3


@in_virtual_time
async def test_what_waits_for_an_agent_that_is_gone_becomes_dead_letters() -> None:
    """Its handler finishes, and what it says is delivered; the rest is given up, with the reason, and told."""
    provider = Watched("yes", latency_s=10)
    told: list[str] = []

    @agent(peers=["*"])
    async def desk(message: Message, ctx: Context) -> Output:
        if isinstance(message, Text) and message.text == ASK:
            return [To("slow", Text("one")), To("slow", Text("two"))]
        told.append(str(message))
        return None

    async with organism([desk, caller("slow", name="slow")], provider) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([desk], provider))
        assert set(it.statistics().mailboxes) == {"desk"}
        result = await it.wait(thread)
        (letter,) = it.dead_letters()
        assert (letter.reason, letter.envelope.payload) == ("not_deliverable", Text("two"))
        assert letter.detail == "there is no agent 'slow'; there are: desk"
        assert told == ["Text(text='slow: yes')"]
        assert result.outcome == "failed"
        assert it.ledger.open_holds == ()


@in_virtual_time
async def test_a_parked_message_of_an_agent_that_is_gone_does_not_hold_its_thread_up() -> None:
    """Nobody would ever raise a limit for it: it becomes a dead letter, and its thread ends."""
    provider = Watched("yes")
    other = Agent(name="other", handler=caller("other").handler, accepts=(Text,))
    async with organism([caller("writer")], provider, limits=Limits(calls=0)) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        assert it.thread(thread).status == "blocked"
        it.control.apply_spec(parts([other], provider))
        result = await it.wait(thread)
        assert (result.outcome, it.dead_letters()[0].reason) == ("failed", "not_deliverable")


@pytest.mark.parametrize("how", ["reload", "order"])
def test_what_waits_for_budget_goes_on_when_limits_refuse_no_more(how: str) -> None:
    """Whether a new file or an operator changes the mode, nobody has to raise limits that are only watched."""

    async def scenario() -> None:
        provider = Watched("yes")
        async with organism([caller("writer")], provider, limits=Limits(calls=0)) as it:
            thread = await it.open_thread(ASK)
            await anyio.sleep(1)
            assert it.thread(thread).status == "blocked"
            if how == "reload":
                it.control.apply_spec(parts([caller("writer")], provider, mode="audit"))
            else:
                await it.control.set_mode("off")
            assert (await it.wait(thread)).outputs == (Text("writer: yes"),)

    run(scenario)


@in_virtual_time
async def test_what_a_run_sends_to_an_agent_that_has_gone_is_given_to_its_successor() -> None:
    """A handler whose next agent was renamed under it is run again by the new rules, and pays nothing twice."""
    provider = Watched("yes", latency_s=10)
    before = [caller("w", next_=("editor",)), caller("editor", name="editor")]
    after = [caller("w", next_=("reviewer",)), caller("reviewer", name="reviewer")]
    async with organism(before, provider) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts(after, provider))
        result = await it.wait(thread)
        assert result.outputs == (Text("reviewer: yes"),)
        assert len(provider.bill) == 2
        assert it.dead_letters() == ()


@in_virtual_time
async def test_a_run_whose_model_has_gone_is_run_again_by_the_new_agent() -> None:
    """Agents and models may be renamed together while handlers are between two calls."""
    provider = Watched("yes", latency_s=10)
    two_calls: list[str] = []

    def twice(model: str) -> Agent:
        async def handle(message: Text, ctx: Context) -> Text:
            for text in ("a", "b"):
                two_calls.append(model)
                await ctx.llm.complete(text, model=model)
            return Text(model)

        return Agent(name="writer", handler=handle, accepts=(Text,))

    async with organism([twice("main")], provider) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([twice("best")], provider, models={"best": model_plan("best", "p/m")}))
        assert (await it.wait(thread)).outputs == (Text("best"),)
    assert two_calls == ["main", "main", "best", "best"]


@in_virtual_time
async def test_a_join_waits_for_the_companions_in_force() -> None:
    """What has come for a join is kept when the join changes, and completes it if nothing more is to come."""
    provider = Watched("yes")
    seen: list[Gathered] = []

    async def collect(message: Gathered, ctx: Context) -> None:
        seen.append(message)

    def line(*senders: str, late_s: float) -> list[Agent]:
        async def split(message: Text, ctx: Context) -> list[Any]:
            return [To(sender, message) for sender in senders]

        async def quick(message: Text, ctx: Context) -> Text:
            return Text("quick")

        async def late(message: Text, ctx: Context) -> Text:
            await anyio.sleep(late_s)
            return Text("late")

        made = {"quick": quick, "late": late}
        return [
            Agent(name="split", handler=split, accepts=(Text,), peers=senders),
            *(Agent(name=name, handler=made[name], accepts=(Text,), next=("end",)) for name in senders),
            Agent(name="end", handler=collect, accepts=(Gathered,), gather=senders),
        ]

    async with organism(line("quick", "late", late_s=1000), provider) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        assert seen == []
        it.control.apply_spec(parts(line("quick", late_s=0), provider))
        await anyio.sleep(1)
        assert [part.text for part in seen[0].parts] == ["quick"]
        await it.terminate(thread)


@in_virtual_time
async def test_bounds_hold_from_the_next_message_on() -> None:
    """A smaller mailbox refuses the outside at once, a larger one lets those in who wait before it."""
    provider = Watched("yes", latency_s=100)
    async with organism([caller("writer")], provider) as it:
        threads = [await it.open_thread(ASK) for _ in range(2)]
        await it.send(threads[0], ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("writer")], provider, bounds=Bounds(mailbox_messages=1)))
        with pytest.raises(Exception, match="is full"):
            await it.open_thread(ASK)
        it.control.apply_spec(parts([caller("writer")], provider, bounds=Bounds(message_bytes=50)))
        await it.open_thread(ASK)
        with pytest.raises(Exception, match="message_bytes"):
            await it.open_thread("x" * 100)


@in_virtual_time
async def test_a_tool_server_is_closed_when_the_last_run_that_may_use_it_is_over() -> None:
    """One that stays is not restarted; one that is gone serves those who began with it."""
    provider = Watched("yes", latency_s=10)
    old, same, new = ToolServer("old"), ToolServer("same"), ToolServer("new")
    async with organism([caller("writer")], provider, tool_servers=[old, same]) as it:
        thread = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("writer")], provider, tool_servers=(same, new)))
        await anyio.sleep(1)
        assert (old.up, same.up, new.up) == (True, True, True)
        await it.wait(thread)
        await anyio.sleep(1)
        assert (old.up, same.up, new.up) == (False, True, True)
    assert (same.up, new.up) == (False, False)


@in_virtual_time
async def test_a_tool_server_outlives_the_runs_of_all_reloads_before_the_one_that_takes_it_away() -> None:
    """A run that began two reloads ago may use it as well as one that began with the last one."""
    provider, server = Watched("yes", latency_s=10), ToolServer("old")
    async with organism([caller("writer")], provider, tool_servers=[server]) as it:
        first = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("writer")], provider, tool_servers=(server,)))
        second = await it.open_thread(ASK)
        await anyio.sleep(1)
        it.control.apply_spec(parts([caller("writer")], provider, tool_servers=(server,)))
        it.control.apply_spec(parts([caller("writer")], provider))
        await anyio.sleep(1)
        assert server.up
        await it.wait(first)
        await anyio.sleep(0.5)
        assert server.up
        await it.wait(second)
        await anyio.sleep(0.5)
        assert not server.up


@in_virtual_time
async def test_a_pause_does_not_outlive_its_agent() -> None:
    """An agent that is taken out and put in again later begins without the pause of the one before."""
    provider = Watched("yes")
    both = [caller("writer"), caller("other", name="other")]
    async with organism(both, provider) as it:
        await it.control.pause_agent("other")
        await it.control.pause_agent("writer")
        it.control.apply_spec(parts(both[:1], provider))
        it.control.apply_spec(parts(both, provider))
        assert it.statistics().paused_agents == {"writer"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"entry": "nobody"}, "no such agent"),
        ({"models": {"main": model_plan("main", "nowhere/m")}}, "does not exist"),
        ({"prices": {"a": "b", "b": "a"}}, "circle|round"),
        ({"name": "another"}, "keeps its name"),
    ],
    ids=["agent", "provider", "price", "name"],
)
def test_parts_that_do_not_fit_change_nothing(changes: dict[str, Any], why: str) -> None:
    """Whatever is wrong with the new parts, everything goes on as before."""

    async def scenario() -> None:
        provider, other = Watched("old"), Watched("new")
        async with organism([caller("first")], provider) as it:
            broken = parts([caller("second")], other, mode="off", **changes)
            with pytest.raises(ConfigError, match=why):
                it.control.apply_spec(broken)
            assert it.budgets.mode == "enforce"
            assert (await it.run(ASK)).outputs == (Text("first: old"),)
            assert not provider.closed
        with pytest.raises(StoppedError, match="takes no new work"):
            apply_spec(it, parts([caller("second")], other))

    run(scenario)


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_whenever_parts_are_swapped(seed: int, tmp_path: Path) -> None:
    """Swaps at any moment under load: every thread ends, the books agree with themselves and with the bill."""
    chance = random.Random(seed)
    providers: list[Watched] = []
    path = tmp_path / "j.db"

    def provider() -> Watched:
        made = Watched("yes", latency_s=chance.choice([0.0, 0.5, 3.0]))
        providers.append(made)
        return made

    def team() -> list[Agent]:
        names = chance.sample(["editor", "critic", "judge"], k=chance.randint(1, 3))
        ahead = [*((name,) for name in names[1:]), ()]
        return [
            caller("writer", next_=(names[0],)),
            *(caller(name, next_=next_, name=name) for name, next_ in zip(names, ahead, strict=True)),
        ]

    async def scenario() -> list[str]:
        seen: list[Any] = []
        it = organism(team(), provider(), journal=SqliteJournal(path))
        it.usage.subscribe(seen.append)
        async with it:
            opened = []
            for _ in range(25):
                opened.append(await it.open_thread(ASK))
                await anyio.sleep(chance.random() * 0.5)
                if chance.random() < 0.4:
                    settings = RouterSettings(providers={"p": ProviderSettings(concurrency=chance.randint(1, 5))})
                    same = providers[-1] if chance.random() < 0.3 else provider()
                    it.control.apply_spec(parts(team(), same, router=settings))
            assert await it.drain(600)
            assert it.threads() == ()
            assert it.ledger.open_holds == ()
        ended = {event.thread_id for event in seen if isinstance(event, ThreadClosed)}
        assert ended == set(opened)
        answered = [event for event in seen if isinstance(event, UsageEvent)]
        assert {event.outcome for event in answered} == {"settled"}
        assert sum(event.usage.total for event in answered) == sum(each.billed.total for each in providers)
        assert all(each.closed for each in providers if each.requests or each is providers[-1])
        return opened

    opened = run(scenario, seed=seed)

    audit = audit_journal(path)
    assert audit.findings == []
    assert set(audit.closed) == set(opened)
