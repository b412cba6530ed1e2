"""What happens at a threshold beside a warning: a cheaper model, a person's word, waiting, or an error; per scope."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from organism import BudgetPlan, Context, Limits, ModelPlan, Organism, Route, Text, agent
from organism.budget.guards.actions import Action, Actions, end_of, up_to, warned_at
from organism.budget.scopes import LabelLimits, ScopedLimits, ScopeRule
from organism.errors import BudgetExhaustedError, ConfigError
from organism.router.planning.plan import Degrade
from organism.stores.sqlite import SqliteJournal
from organism.testing import ScriptedProvider, VirtualClock, run
from organism.threads.approvals import Approval, ApprovalNeededError, Decision
from organism.usage.events import ApprovalDecided, ApprovalRequested, ModelDegraded, ThresholdCrossed

CALLS = Limits(calls=10, tokens=1_000_000)


@agent
async def caller(message: Text, ctx: Context) -> Text:
    """Make so many calls one after another, and say how many were answered."""
    answered = 0
    for number in range(int(message.text)):
        try:
            await ctx.llm.complete(f"call {number}", model="m", max_output_tokens=5)
        except BudgetExhaustedError:
            return Text(f"refused after {answered}")
        answered += 1
    return Text(f"answered {answered}")


def organism(provider: ScriptedProvider, plan: BudgetPlan, **options: Any) -> Organism:
    models = {
        "m": ModelPlan(name="m", routes=(Route("p", "big"),), degrade=Degrade(None, "s")),
        "s": ModelPlan(name="s", routes=(Route("p", "small"),)),
    }
    options.setdefault("clock", VirtualClock())
    thresholds = warned_at(plan.actions) or (75, 90, 95)
    return Organism([caller], models=models, providers={"p": provider}, limits=plan, thresholds=thresholds, **options)


def plan(*actions: tuple[int, Action], scope: str = "organism", limits: Limits = CALLS) -> BudgetPlan:
    """Say what happens on one scope that is limited to ten calls; threads are not limited."""
    rule = ScopeRule(thresholds=warned_at(actions) or (100,), actions=actions)
    free, scoped = Limits(tokens=1_000_000), ScopedLimits(limits, "day", rule)
    match scope:
        case "organism":
            return BudgetPlan(thread=limits, actions=actions, final_reserve_percent=0)
        case "thread":
            return BudgetPlan(thread=limits, rules={"thread": rule}, final_reserve_percent=0)
        case "day":
            return BudgetPlan(thread=free, windows={"day": limits}, rules={"day": rule})
        case "agent":
            return BudgetPlan(thread=free, agents={"caller": scoped})
        case _:
            return BudgetPlan(thread=free, models={"m": scoped, "s": scoped})


SCOPES = ["organism", "thread", "day", "agent", "model"]


async def asked(running: Organism, thread: str) -> tuple[Approval, ...]:
    with pytest.raises(ApprovalNeededError) as caught:
        await running.wait(thread)
    return caught.value.approvals


@pytest.mark.parametrize("scope", SCOPES)
def test_a_person_lets_an_account_go_on_or_not(scope: str) -> None:
    """Nothing more is spent until a person says so; then it goes on to the limit, paying nothing twice."""

    async def main() -> None:
        provider = ScriptedProvider()
        async with organism(provider, plan((50, "warn"), (80, "approve"), (100, "park"), scope=scope)) as running:
            thread = await running.open_thread("12")
            (approval,) = await asked(running, thread)
            assert (len(provider.requests), approval.threshold) == (8, 80)
            assert "at 80 % a person must let it go on" in approval.detail
            await running.approvals.decide(approval.id, Decision(True))
            with pytest.raises(BudgetExhaustedError, match="0 calls left"):
                await running.wait(thread)
            assert len(provider.requests) == 10

    run(main)


def test_a_person_s_no_is_an_error_for_the_handler() -> None:
    """It is raised where the call was made, once and for good for this message."""

    async def main() -> None:
        async with organism(ScriptedProvider(), plan((80, "approve"))) as running:
            thread = await running.open_thread("12")
            (approval,) = await asked(running, thread)
            await running.approvals.decide(approval.id, Decision(False))
            assert (await running.wait(thread)).text == "refused after 8"

    run(main)


def test_one_word_is_for_all_who_wait_for_the_same() -> None:
    """Threads that wait at the same threshold of the same account go on together; a new day asks anew."""

    async def main() -> None:
        decided: list[ApprovalDecided] = []
        async with organism(ScriptedProvider(), plan((50, "approve"), scope="day")) as running:
            running.usage.subscribe(decided.append, ApprovalDecided)
            first, second = await running.open_thread("5"), await running.open_thread("4")
            (approval,), (other,) = await asked(running, first), await asked(running, second)
            assert (approval.id, approval.account) == (other.id, other.account)
            assert running.approvals.waiting() == (approval,)
            await running.approvals.decide(approval.id, Decision(True))
            assert {(await running.wait(each)).text for each in (first, second)} == {"answered 5", "answered 4"}
            assert running.approvals.waiting() == ()
            await anyio.sleep(86_400)
            third = await running.open_thread("6")
            assert (await asked(running, third))[0].account != approval.account

    run(main)


async def crowded(running: Organism, requested: list[ApprovalRequested]) -> tuple[str, Approval]:
    """Have ten messages wait at one threshold; returns their thread and the one question they wait for."""
    running.usage.subscribe(requested.append, ApprovalRequested)
    thread = await running.open_thread("6")
    for _ in range(9):
        await running.send(thread, "1")
    (approval,) = await asked(running, thread)
    assert len(running.pump.open_threads.get(thread).approvals) == 10
    return thread, approval


async def shown(running: Organism, thread: str) -> list[tuple[str, ...]]:
    """Return the ids that lists show: of all, of the thread, and with the thread."""
    queries = running.control.queries
    of_thread = tuple(each.id for each in queries.approvals(threads=frozenset({thread})))
    detail = await queries.thread(thread)
    return [tuple(each.id for each in running.approvals.waiting()), of_thread, detail.thread.approvals]


@pytest.mark.parametrize("allowed", [True, False])
def test_ten_messages_at_one_threshold_are_one_question(tmp_path: Path, *, allowed: bool) -> None:
    """A person is asked once and answers once, also when the process ends meanwhile; a no ends all of them."""
    requested: list[ApprovalRequested] = []

    def made() -> Organism:
        journal = SqliteJournal(tmp_path / "journal.db")
        return organism(ScriptedProvider(), plan((50, "approve")), journal=journal, clock=None)

    async def before() -> tuple[str, Approval]:
        async with made() as running:
            thread, approval = await crowded(running, requested)
            assert await shown(running, thread) == [(approval.id,)] * 3
        return thread, approval

    async def after(thread: str, approval: Approval) -> None:
        async with made() as running:
            running.usage.subscribe(requested.append, ApprovalRequested)
            assert await asked(running, thread) == (approval,)
            assert await shown(running, thread) == [(approval.id,)] * 3
            # Another that meets it afterwards waits for the same.
            late = await running.send(thread, "1")
            assert await asked(running, thread) == (approval,)
            assert late in {each.message_id for each in running.pump.open_threads.get(thread).approvals}
            assert {each.asked_ns for each in running.pump.open_threads.get(thread).approvals} == {approval.asked_ns}
            await running.approvals.decide(approval.id, Decision(allowed))
            if allowed:
                with pytest.raises(BudgetExhaustedError, match="0 calls left"):
                    await running.wait(thread)
            else:
                said = (await running.wait(thread)).text.split("\n\n")
                assert sorted(said) == ["refused after 0"] * 10 + ["refused after 5"]
            assert running.approvals.waiting() == ()

    anyio.run(after, *anyio.run(before))
    assert len(requested) == 1


def test_what_is_asked_once_is_asked_anew_at_another_threshold_or_limit() -> None:
    """A word is for one threshold of one revision of a limit: the next one is another question."""

    async def main() -> None:
        requested: list[ApprovalRequested] = []
        async with organism(ScriptedProvider(), plan((50, "approve"), (80, "approve"))) as it:
            thread, first = await crowded(it, requested)
            await it.approvals.decide(first.id, Decision(True))
            (second,) = await asked(it, thread)
            await it.control.set_limits(thread, Limits(calls=15, tokens=1_000_000))
            (third,) = await asked(it, thread)
            assert [each.approval_id for each in requested] == [first.id, second.id, third.id]
            assert len({first.id, second.id, third.id}) == 3

    run(main)


def test_a_new_day_or_a_higher_limit_needs_no_word() -> None:
    """What waits for a person goes on when the window ends, or when the limit is raised beyond the threshold."""

    async def main() -> None:
        async with organism(ScriptedProvider(), plan((50, "approve"), scope="day")) as running:
            thread = await running.open_thread("7")
            await asked(running, thread)
            await anyio.sleep(86_400 + 60)
            assert (await running.wait(thread)).text == "answered 7"
            second = await running.open_thread("7")
            (approval,) = await asked(running, second)
            await running.control.set_limits(approval.account, Limits(calls=100))
            assert (await running.wait(second)).text == "answered 7"

    run(main)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("on_exhausted", ["park", "fail"])
@pytest.mark.parametrize(("percent", "made"), [(100, 10), (50, 5)])
def test_each_scope_ends_as_it_says(scope: str, on_exhausted: Any, percent: int, made: int) -> None:
    """``refuse`` raises and ``park`` waits, whatever the organism does elsewhere; also before the limit."""

    async def main(action: Action) -> None:
        provider = ScriptedProvider()
        ends = plan((20, "warn"), (percent, action), scope=scope)
        async with organism(provider, ends, on_exhausted=on_exhausted) as running:
            thread = await running.open_thread("12")
            if action == "refuse":
                assert (await running.wait(thread)).text == f"refused after {made}"
            else:
                with pytest.raises(BudgetExhaustedError) as caught:
                    await running.wait(thread)
                await running.control.set_limits(caught.value.shortfall.account, Limits(calls=100))
                assert (await running.wait(thread)).text == "answered 12"
            assert len(provider.requests) == (made if action == "refuse" else 12)

    for action in ("park", "refuse"):
        run(main, action)


@pytest.mark.parametrize("scope", SCOPES)
def test_calls_are_made_with_a_cheaper_model(scope: str) -> None:
    """From the threshold on the model that takes its place is asked, and each change is an event."""

    async def main() -> None:
        provider = ScriptedProvider()
        changed: list[ModelDegraded] = []
        async with organism(provider, plan((60, "degrade"), scope=scope)) as running:
            running.usage.subscribe(changed.append, ModelDegraded)
            thread = await running.open_thread("8")
            assert (await running.wait(thread)).text == "answered 8"
            assert [request.model for request in provider.requests] == ["big"] * 6 + ["small"] * 2
            assert {event.threshold for event in changed} == {60}

    run(main)


@pytest.mark.parametrize("mode", ["audit", "off"])
def test_modes_that_only_watch_stop_nothing(mode: Any) -> None:
    """Actions belong to limits that are enforced; else every call is made with the model that was asked for."""

    async def main() -> None:
        provider = ScriptedProvider()
        actions = plan((30, "degrade"), (60, "approve"), (90, "refuse"))
        async with organism(provider, actions, mode=mode) as running:
            assert (await running.run("12")).text == "answered 12"
            assert {request.model for request in provider.requests} == {"big"}

    run(main)


def test_every_action_warns_as_a_threshold_does() -> None:
    """Agents hear of each before the end, once."""

    async def main() -> None:
        crossed: list[ThresholdCrossed] = []
        actions = plan((50, "warn"), (70, "degrade"), (90, "warn"), (100, "park"))
        async with organism(ScriptedProvider(), actions) as running:
            running.usage.subscribe(crossed.append, ThresholdCrossed)
            await running.run("10")
            assert [event.threshold for event in crossed] == [50, 70, 90]

    run(main)


def test_a_word_outlasts_the_process(tmp_path: Path) -> None:
    """What a person has let go on is in the ledger: a restart does not ask again."""

    async def before() -> str:
        journal = SqliteJournal(tmp_path / "journal.db")
        async with organism(ScriptedProvider(), plan((50, "approve")), journal=journal, clock=None) as running:
            thread = await running.open_thread("12")
            (approval,) = await asked(running, thread)
            await running.approvals.decide(approval.id, Decision(True))
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await running.wait(thread)
            return thread

    async def after(thread: str) -> None:
        journal, provider = SqliteJournal(tmp_path / "journal.db"), ScriptedProvider()
        async with organism(provider, plan((50, "approve")), journal=journal, clock=None) as running:
            with pytest.raises(BudgetExhaustedError, match="budget exhausted in"):
                await running.wait(thread)
            assert (running.approvals.waiting(), provider.requests) == ((), [])
            story = await running.control.queries.story(thread)
            assert "python has let it go on at 50 %" in [note.text for note in story.notes]

    anyio.run(after, anyio.run(before))


@pytest.mark.parametrize(
    ("actions", "end", "warned"),
    [
        ((), (100, ""), ()),
        (((75, "warn"), (100, "park")), (100, "park"), (75,)),
        (((75, "warn"), (90, "refuse")), (90, "refuse"), (75, 90)),
        (((100, "warn"),), (100, ""), ()),
    ],
)
def test_the_end_and_the_warnings_follow_from_the_actions(
    actions: Actions, end: tuple[int, str], warned: tuple[int, ...]
) -> None:
    """An end before the limit is a lower limit, rounded down, in every unit."""
    assert (end_of(actions), warned_at(actions)) == (end, warned)
    most = up_to(Limits(tokens=1001, calls=3, usd="0.01"), actions)
    assert most.tokens == 1001 * end[0] // 100
    assert most.elapsed_ns is None


def written(thresholds: Any, calls: int) -> str:
    """Run so many calls of ten under thresholds as a program writes them."""

    async def main() -> str:
        provider = ScriptedProvider(["ok"])
        organism = Organism(
            [caller],
            models={"m": ModelPlan(name="m", routes=(Route("p", "big"),))},
            providers={"p": provider},
            limits=BudgetPlan(thread=CALLS, final_reserve_percent=0),
            thresholds=thresholds,
            clock=VirtualClock(),
        )
        async with organism:
            return (await organism.run(str(calls))).text

    return run(main)


def test_program_writes_actions_as_the_file_does() -> None:
    """`Organism(thresholds={...})` says what happens at each per cent, as `thresholds:` does in organism.yaml."""
    assert written((50, 90), 10) == "answered 10"
    assert written({50: "warn", 90: "refuse"}, 10) == "refused after 9"
    assert written({50: "warn", 90: "refuse"}, 9) == "answered 9"


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [({90: "stop"}, "there is no 'stop'"), ({0: "warn"}, "warn at 0 %"), ({101: "park"}, "park at 101 %"),
     ({100: "approve"}, "approve at 100 %"), ({100: "degrade"}, "degrade at 100 %"),
     ({"x": "warn"}, "warn at x %"), ({None: "warn"}, "warn at None %"), ({75.5: "warn"}, "warn at 75.5 %"),
     ({True: "warn"}, "warn at True %")],
    ids=str,
)  # fmt: skip
def test_action_that_is_none_is_refused_at_once(thresholds: Any, said: str) -> None:
    """A mistake in a program is found where it is made, and not when money runs out."""
    with pytest.raises(ConfigError, match=said):
        written(thresholds, 1)


def test_status_says_what_happens_where() -> None:
    """An operator reads each scope's thresholds where the organism is, and need not look for its file."""

    async def main() -> tuple[dict[str, dict[int, Action]], int]:
        strict = ScopeRule(thresholds=(80,), actions=((80, "warn"), (100, "refuse")))
        scopes = BudgetPlan(
            thread=CALLS,
            windows={"day": CALLS},
            rules={"day": strict},
            agents={"caller": ScopedLimits(CALLS, "day", ScopeRule(thresholds=(50,)))},
            models={"m": ScopedLimits(CALLS)},
            labels={"tenant": LabelLimits(each=ScopedLimits(CALLS), values={"acme": ScopedLimits(CALLS, rule=strict)})},
        )
        async with organism(ScriptedProvider(["ok"]), scopes, warn_ahead=5) as running:
            status = running.control.status()
            return status.thresholds, status.warn_ahead

    thresholds, ahead = run(main)
    assert ahead == 5
    assert thresholds == {
        "limits": {75: "warn", 90: "warn", 95: "warn"},
        "limits.day": {80: "warn", 100: "refuse"},
        "limits.agents.caller": {50: "warn"},
        "limits.labels.tenant.acme": {80: "warn", 100: "refuse"},
    }
