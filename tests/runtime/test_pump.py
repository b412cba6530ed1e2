"""A whole organism in virtual time: who gets which message, in which order, and what happens when things go wrong."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from organism import (
    AgentFailed,
    Bounds,
    BudgetExhaustedError,
    BudgetPlan,
    BudgetWarning,
    ConfigError,
    Context,
    Gathered,
    Limits,
    Message,
    Organism,
    Text,
    To,
    agent,
    llm_agent,
)
from organism.agents.agent import Agent
from organism.amounts import ZERO
from organism.errors import (
    AskFailedError,
    AskTimeoutError,
    MailboxFullError,
    NotAcceptedError,
    StoppedError,
    ThreadClosedError,
    UnknownRecipientError,
)
from organism.testing import ScriptedProvider, SequentialIds, VirtualClock, run
from organism.testing.crashing_journal import CrashingJournal
from organism.usage.events import ThreadBlocked, ThreadClosed, UsageEvent


class Number(Message, frozen=True):
    """A type of the tests' own."""

    value: int


def make(*agents: Agent, provider: ScriptedProvider | None = None, **options: Any) -> Organism:
    """Make an organism in virtual time with a scripted model."""
    provider = provider or ScriptedProvider(["one two three"])
    return Organism(
        agents,
        models={"main": f"{provider.name}/m"},
        providers={provider.name: provider},
        clock=VirtualClock(),
        ids=SequentialIds(),
        provider_kinds={provider.name: "local"},
        **options,
    )


def in_virtual_time(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Turn an async test into one that runs in virtual time under several orders of events."""

    def runner() -> None:
        for seed in range(3):
            run(test, seed=seed)

    runner.__doc__ = test.__doc__
    runner.__name__ = test.__name__
    return runner


def left_nothing(organism: Organism) -> bool:
    """Whether no thread, account, hold, message or paid answer is left."""
    statistics = organism.statistics()
    return (
        statistics.threads == 0
        and organism.ledger.accounts == ()
        and organism.ledger.open_holds == ()
        and all(box.messages == 0 and box.size == 0 for box in statistics.mailboxes.values())
        and len(organism.router.memo) == 0
        and all(not piece.thread_id for piece in organism.journal.load().pieces)
        and organism.router.statistics().threads == 0
    )


@agent()
async def echo(message: Message, ctx: Context) -> Message:
    """Answer with the message itself."""
    return message


# -- routing and order -------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_chain_answers_the_user_on_one_budget() -> None:
    """A -> B -> C -> reply: the last of the chain answers whoever began it, and one budget has paid for all."""
    provider = ScriptedProvider(["a b c"])
    organism = make(llm_agent("a", next="b"), llm_agent("b", next="c"), llm_agent("c"), provider=provider)
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("a b c"),)
    assert result.outcome == "completed"
    assert len(provider.bill) == 3
    assert result.budget.spent.tokens == provider.billed.total
    assert left_nothing(organism)


@in_virtual_time
async def test_reply_to_a_message_of_one_s_own_accord_comes_back() -> None:
    """Whoever writes to a peer gets its answer, and can still answer its own sender afterwards."""

    @agent(peers=["echo"])
    async def asker(message: Text, ctx: Context) -> Text | To:
        if ctx.sender == "user":
            return To("echo", Text("ping"))
        return Text(f"{ctx.sender} said {message.text}")

    organism = make(asker, echo)
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("echo said ping"),)


@in_virtual_time
async def test_messages_of_a_thread_to_an_agent_are_handled_in_order_one_at_a_time() -> None:
    """Per thread and recipient: in sequence, never two at once, however long each takes."""
    seen: list[int] = []
    busy = 0

    @agent()
    async def worker(message: Number, ctx: Context) -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        await anyio.sleep(10 - message.value)
        seen.append(message.value)
        busy -= 1

    @agent(peers=["worker"])
    async def source(message: Text, ctx: Context) -> list[To]:
        return [To("worker", Number(value)) for value in range(10)]

    organism = make(source, worker)
    async with organism:
        await organism.run("go")

    assert seen == list(range(10))


@in_virtual_time
async def test_agents_and_threads_run_concurrently() -> None:
    """Different recipients and different threads do not wait for each other."""

    @agent()
    async def slow(message: Text, ctx: Context) -> None:
        await anyio.sleep(10)

    organism = make(slow)
    async with organism:
        threads = [await organism.open_thread("go") for _ in range(50)]
        for thread in threads:
            await organism.wait(thread)
        assert anyio.current_time() == 10


@in_virtual_time
async def test_fan_out_and_gather() -> None:
    """A team works in parallel, and the one who waits for all of them gets their parts together, in order."""

    @agent(gather=["left", "right"], accepts=[Gathered])
    async def join(message: Gathered, ctx: Context) -> Text:
        return Text("+".join(part.text for part in message.parts) + "".join(message.missing))

    organism = make(
        llm_agent("plan", next=("left", "right")),
        replace(echo, name="left", next=("join",)),
        replace(echo, name="right", next=("join",)),
        join,
    )
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("one two three+one two three"),)
    assert left_nothing(organism)


@in_virtual_time
async def test_gather_goes_on_without_a_part_that_will_never_come() -> None:
    """If a member of the team fails, the others' work is not lost, and the gap is named."""

    @agent(gather=["left", "right"], accepts=[Gathered])
    async def join(message: Gathered, ctx: Context) -> Text:
        return Text(f"{[part.sender for part in message.parts]} without {message.missing}")

    @agent("right", next="join")
    async def broken(message: Text, ctx: Context) -> None:
        raise ValueError("broken")

    organism = make(
        replace(echo, name="plan", next=("left", "right")), replace(echo, name="left", next=("join",)), broken, join
    )
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("['left'] without ('right',)"),)


@in_virtual_time
async def test_publish_reaches_the_peers_that_ask_for_the_type() -> None:
    """A published message goes to every peer that names its type, and to nobody else."""
    got: list[str] = []

    def listener(name: str, kind: type[Message]) -> Agent:
        async def handle(message: Message, ctx: Context) -> None:
            got.append(name)

        return Agent(name=name, handler=handle, accepts=(kind,))

    @agent(peers=["*"])
    async def source(message: Text, ctx: Context) -> None:
        ctx.publish(Number(1))

    organism = make(source, listener("a", Number), listener("b", Number), listener("c", Text))
    async with organism:
        await organism.run("go")

    assert sorted(got) == ["a", "b"]


@in_virtual_time
async def test_delayed_message_keeps_the_thread_open() -> None:
    """A message for later is not lost when nothing else is going on."""

    @agent(peers=["sink"])
    async def source(message: Text, ctx: Context) -> None:
        ctx.send("sink", Text("later"), delay_s=3600)

    @agent()
    async def sink(message: Text, ctx: Context) -> None:
        """Take it."""

    organism = make(source, sink)
    async with organism:
        result = await organism.run("go")
        assert anyio.current_time() == 3600

    assert result.outcome == "completed"
    assert left_nothing(organism)


# -- what may not be sent ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (To("nobody", Text("x")), "no agent 'nobody'"),
        (To("b", Text("x")), "may not write to 'b'"),
        (To("numbers", Text("x")), "does not accept Text"),
        ([To("a", Text("x"))] * 65, "fan_out"),
        (To("a", Text("x" * 1_000_001)), "message_bytes"),
        ("plain text", "wrap text"),
        ([Text("x"), 5], "wrap text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_not_be_sent_becomes_a_dead_letter(sent: object, why: str) -> None:
    """A handler that addresses what it may not or cannot reach sends nothing, and the reason is kept."""

    @agent(peers=["a", "numbers"])
    async def source(message: Text, ctx: Context) -> Any:
        return sent

    @agent()
    async def numbers(message: Number, ctx: Context) -> None:
        raise AssertionError("never reached")

    async def main() -> None:
        organism = make(source, replace(echo, name="a"), replace(echo, name="b"), numbers)
        async with organism:
            result = await organism.run("go")
        (letter,) = organism.dead_letters()
        assert why in letter.detail
        assert (result.outcome, why in (result.reason or "")) == ("failed", True)

    run(main)


@in_virtual_time
async def test_omitted_peers_are_those_in_next_and_empty_means_nobody() -> None:
    """An agent reaches only whom its configuration names."""
    told: list[str] = []

    @agent("source", next="b")
    async def source(message: Text, ctx: Context) -> To:
        return To("c", Text("x"))

    organism = make(source, replace(echo, name="b"), replace(echo, name="c"))
    async with organism:
        result = await organism.run("go")
    told.append(result.reason or "")

    assert "may not write to 'c'" in told[0]


@in_virtual_time
async def test_outside_is_refused_before_anything_is_opened() -> None:
    """A message from outside that cannot be delivered opens no thread and costs nothing."""

    @agent()
    async def numbers(message: Number, ctx: Context) -> None:
        """Take numbers."""

    organism = make(numbers)
    async with organism:
        with pytest.raises(UnknownRecipientError, match="there are: numbers"):
            await organism.open_thread(Number(1), to="nobody")
        with pytest.raises(NotAcceptedError, match="it accepts: Number"):
            await organism.open_thread("text")
        with pytest.raises(ConfigError, match="empty"):
            await organism.open_thread("  ")
        assert left_nothing(organism)


@in_virtual_time
async def test_ping_pong_ends_at_the_hop_bound() -> None:
    """Two agents that answer each other for ever are stopped, even if it costs nothing."""
    handled = 0

    @agent("ping", peers=["pong"])
    async def ping(message: Text, ctx: Context) -> To:
        nonlocal handled
        handled += 1
        return To("pong", message)

    @agent("pong", peers=["ping"])
    async def pong(message: Text, ctx: Context) -> To:
        return To("ping", message)

    organism = make(ping, pong, bounds=Bounds(hops=20))
    async with organism:
        result = await organism.run("go")

    assert handled <= 11
    assert result.outcome == "failed"
    assert organism.dead_letters()[0].reason == "hop_limit"


@in_virtual_time
async def test_full_mailbox_refuses_the_outside_and_holds_senders_back() -> None:
    """A mailbox is bounded: callers are told, agents wait for room, and nothing is lost."""
    handled = 0

    @agent()
    async def slow(message: Number, ctx: Context) -> None:
        nonlocal handled
        await anyio.sleep(1)
        handled += 1

    @agent(peers=["slow"])
    async def source(message: Text, ctx: Context) -> list[To]:
        return [To("slow", Number(value)) for value in range(20)]

    organism = make(source, slow, bounds=Bounds(mailbox_messages=3))
    async with organism:
        thread = await organism.open_thread("go")
        await anyio.sleep(2.5)
        waiting = organism.statistics().mailboxes["slow"]
        assert waiting.messages <= 3
        assert waiting.senders_waiting == 1
        with pytest.raises(MailboxFullError, match="full"):
            await organism.open_thread(Number(99), to="slow")
        await organism.wait(thread)

    assert handled == 20


@in_virtual_time
async def test_self_send_to_a_full_mailbox_does_not_deadlock() -> None:
    """An agent that floods itself ends with dead letters, not with a standstill."""

    @agent(peers=["flood"])
    async def flood(message: Text, ctx: Context) -> list[To]:
        return [To("flood", message)] * 5

    organism = make(flood, bounds=Bounds(mailbox_messages=2, hops=3, delivery_s=1))
    async with organism:
        result = await organism.run("go")

    assert result.outcome == "failed"
    assert left_nothing(organism)


# -- questions ---------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_ask_gather_timeout_failure_and_circle() -> None:
    """A question is answered, or the asker learns why not; several are asked at once."""
    caught: list[object] = []

    @agent("slow")
    async def slow(message: Text, ctx: Context) -> Text:
        await anyio.sleep(50)
        return Text("late")

    @agent("broken")
    async def broken(message: Text, ctx: Context) -> None:
        raise ValueError("broken")

    @agent("silent")
    async def silent(message: Text, ctx: Context) -> None:
        """Say nothing."""

    @agent("back", peers=["asker"])
    async def back(message: Text, ctx: Context) -> Message:
        return await ctx.ask("asker", message)

    @agent("asker", peers=["*"])
    async def asker(message: Text, ctx: Context) -> Text:
        assert await ctx.ask("echo", Text("x")) == Text("x")
        for recipient, timeout_s in (("slow", 5), ("broken", 60), ("silent", 60), ("back", 60)):
            try:
                await ctx.ask(recipient, Text("x"), timeout_s=timeout_s)
            except (AskTimeoutError, AskFailedError) as error:
                caught.append(error)
        started = anyio.current_time()
        replies = await ctx.gather([("echo", Text("1")), ("silent", Text("2")), ("echo", Text("3"))])
        assert [reply if isinstance(reply, Text) else type(reply) for reply in replies] == [
            Text("1"),
            AskFailedError,
            Text("3"),
        ]
        assert anyio.current_time() == started
        return Text("done")

    organism = make(asker, echo, slow, broken, silent, back)
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("done"),)
    assert [type(error) for error in caught] == [AskTimeoutError, AskFailedError, AskFailedError, AskFailedError]
    assert "broken" in str(caught[1])
    assert "without a reply" in str(caught[2])
    assert "circle" in str(caught[3])
    assert any(letter.reason == "late_reply" for letter in organism.dead_letters())
    assert left_nothing(organism)


# -- failure -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_failing_handler_is_retried_then_given_up_with_its_reason() -> None:
    """A passing fault is survived; a lasting one ends in a dead letter after five runs."""
    runs = 0

    @agent()
    async def shaky(message: Number, ctx: Context) -> Text | None:
        nonlocal runs
        runs += 1
        if message.value == 0 or runs < 3:
            raise ValueError("no good")
        return Text(f"run {runs}")

    organism = make(shaky)
    async with organism:
        result = await organism.run(Number(1))
        assert result.outputs == (Text("run 3"),)
        runs = 0
        result = await organism.run(Number(0))

    assert runs == 5
    assert result.reason == "shaky: ValueError: no good"
    assert organism.dead_letters()[0].reason == "handler_failed"


@in_virtual_time
async def test_failed_run_has_sent_nothing() -> None:
    """What a handler sends leaves when it finishes, so a retried handler does not send twice."""
    runs = 0

    @agent(peers=["echo"])
    async def shaky(message: Text, ctx: Context) -> None:
        nonlocal runs
        runs += 1
        ctx.send("user", Text("sent"))
        if runs < 3:
            raise ValueError

    organism = make(shaky, echo)
    async with organism:
        result = await organism.run("go")

    assert (runs, result.outputs) == (3, (Text("sent"),))


@in_virtual_time
async def test_agent_that_fails_too_often_is_stopped_and_says_so() -> None:
    """After more failed messages than its restart intensity allows an agent takes no more, without hurting others."""

    @agent()
    async def broken(message: Text, ctx: Context) -> None:
        raise ValueError("always")

    organism = make(echo, broken, bounds=Bounds(attempts=1))
    async with organism:
        for _ in range(4):
            await organism.run("go", to="broken")
        assert "broken" in organism.statistics().stopped_agents
        result = await organism.run("go", to="broken")
        assert (await organism.run("go")).outcome == "completed"

    assert "has stopped" in (result.reason or "")
    assert organism.dead_letters()[-1].reason == "agent_failed"


@in_virtual_time
async def test_sender_is_told_when_its_message_is_given_up() -> None:
    """An agent whose message failed can react to it."""

    @agent(peers=["broken"])
    async def boss(message: Text | AgentFailed, ctx: Context) -> To | Text:
        if isinstance(message, AgentFailed):
            return To("user", Text(f"{message.agent} failed: {message.reason}"))  # type: ignore[return-value]
        return To("broken", message)

    @agent()
    async def broken(message: Text, ctx: Context) -> None:
        raise ValueError("sorry")

    organism = make(boss, broken)
    async with organism:
        result = await organism.run("go")

    assert result.outputs == (Text("broken failed: ValueError: sorry"),)


@in_virtual_time
async def test_handler_that_never_returns_is_stopped_at_its_timeout() -> None:
    """A handler has its time and no more, and the thread goes on."""

    @agent(timeout_s=10)
    async def stuck(message: Text, ctx: Context) -> None:
        await anyio.sleep_forever()

    organism = make(stuck, bounds=Bounds(attempts=2))
    async with organism:
        result = await organism.run("go")
        assert anyio.current_time() == pytest.approx(20.1)

    assert "longer than 10 s" in (result.reason or "")


def test_plain_functions_run_on_worker_threads() -> None:
    """A handler may be a plain function and may block."""
    import threading

    @agent()
    def plain(message: Text, ctx: Context) -> Text:
        return Text(str(threading.current_thread() is threading.main_thread()))

    async def main() -> None:
        organism = make(plain)
        async with organism:
            assert (await organism.run("go")).outputs == (Text("False"),)

    run(main)


# -- budgets -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_warning_reaches_the_agent_and_none_does_not_end_the_thread() -> None:
    """An agent gets each warning once as a message, and answering None to it ends nothing."""
    got: list[int] = []

    @agent()
    async def spender(message: Text | BudgetWarning, ctx: Context) -> Text | None:
        if isinstance(message, BudgetWarning):
            got.append(message.threshold)
            return None
        for place in range(4):
            await ctx.llm.complete(f"question {place}", max_output_tokens=16)
        await anyio.sleep(1)
        return Text("done")

    provider = ScriptedProvider(["word " * 30])
    organism = make(spender, provider=provider, limits=Limits(calls=4))
    async with organism:
        result = await organism.run("go")

    assert got == [75, 90, 95]
    assert result.outputs == (Text("done"),)


@in_virtual_time
async def test_llm_agent_reads_its_warning_in_its_next_prompt() -> None:
    """A model is told in words that its budget runs low."""
    provider = ScriptedProvider(["one two three"])

    @agent(peers=["writer"])
    async def boss(message: Text, ctx: Context) -> Text:
        for _ in range(4):
            await ctx.ask("writer", Text("write"))
        return Text("done")

    organism = make(boss, llm_agent("writer"), provider=provider, limits=Limits(calls=4))
    async with organism:
        await organism.run("go")

    prompts = [request.messages[-1].content for request in provider.requests]
    assert prompts[:2] == ["write"] * 2
    assert "50 % of the budget is used; 2 calls left, enough for 2 more calls like the present one." in prompts[2]
    assert prompts[3] == "write"


@in_virtual_time
async def test_exhausted_thread_parks_and_goes_on_without_paying_twice() -> None:
    """A thread out of budget waits; raised, it goes on where it was, and paid answers are not paid again."""
    provider = ScriptedProvider(["one two three"])

    @agent()
    async def spender(message: Text, ctx: Context) -> Text:
        for place in range(6):
            await ctx.llm.complete(f"question {place}", max_output_tokens=16)
        return Text("done")

    organism = make(spender, provider=provider, limits=Limits(calls=4))
    blocked: list[ThreadBlocked] = []
    organism.usage.subscribe(blocked.append, ThreadBlocked)  # type: ignore[arg-type]
    async with organism:
        with pytest.raises(BudgetExhaustedError, match="0 calls left of 4 calls") as caught:
            await organism.run("go")
        thread = caught.value.thread_id
        assert organism.thread(thread).status == "blocked"
        assert len(provider.bill) == 4
        await organism.set_limits(thread, Limits(calls=6))
        result = await organism.wait(thread)

    assert len(blocked) == 1
    assert len(provider.bill) == 6
    assert result.outputs == (Text("done"),)
    assert result.budget.spent.calls == 6
    assert left_nothing(organism)


@in_virtual_time
async def test_parked_question_parks_its_asker() -> None:
    """An asker does not run into its deadline while the answer waits for budget."""

    @agent(peers=["writer"], timeout_s=30)
    async def boss(message: Text, ctx: Context) -> Message:
        return await ctx.ask("writer", Text("write"), timeout_s=20)

    provider = ScriptedProvider(["one two three"])
    organism = make(boss, llm_agent("writer"), provider=provider, limits=Limits(calls=0))
    async with organism:
        thread = await organism.open_thread("go")
        await anyio.sleep(1000)
        assert organism.thread(thread).parked == ("boss", "writer")
        await organism.set_limits(thread, Limits(calls=1))
        result = await organism.wait(thread)

    assert result.outputs == (Text("one two three"),)
    assert len(provider.bill) == 1
    assert result.budget.elapsed_ns < 10_000_000_000


@in_virtual_time
async def test_on_exhausted_fail_raises_into_the_handler() -> None:
    """Whoever wants errors instead of waiting gets them, with every number."""

    @agent()
    async def spender(message: Text, ctx: Context) -> Text:
        try:
            await ctx.llm.complete("question")
        except BudgetExhaustedError as error:
            return Text(f"{error.shortfall.dimension} {error.shortfall.limit}")
        return Text("never")

    organism = make(spender, llm_agent("writer"), limits=Limits(calls=0), on_exhausted="fail")
    async with organism:
        assert (await organism.run("go")).outputs == (Text("calls 0"),)
        result = await organism.run("go", to="writer")

    assert result.outcome == "failed"
    assert organism.dead_letters()[0].reason == "budget_exhausted"


@in_virtual_time
async def test_thousand_calls_of_one_thread_never_pass_its_limit() -> None:
    """A thousand concurrent calls where five hundred fit: what fits is admitted, and never a token more."""
    provider = ScriptedProvider(lambda _request: "word " * 50, latency_s=1)
    limit = 500 * 66
    worst = 0

    @agent(timeout_s=10_000)
    async def crowd(message: Text, ctx: Context) -> Text:
        served = 0

        async def one() -> None:
            nonlocal served, worst
            try:
                await ctx.llm.complete("x", max_output_tokens=16)
                served += 1
            except BudgetExhaustedError:
                pass
            worst = max(worst, ctx.budget.spent.tokens + ctx.budget.held.tokens)

        async with anyio.create_task_group() as tasks:
            for _ in range(1000):
                tasks.start_soon(one)
        return Text(str(served))

    from organism.router.call import RouterSettings

    organism = make(
        crowd,
        provider=provider,
        limits=BudgetPlan(thread=Limits(tokens=limit), final_reserve_percent=0),
        on_exhausted="fail",
        router=RouterSettings(calls_in_flight=1000, estimate="strict"),
        wait_s=0,
    )
    async with organism:
        result = await organism.run("go")

    assert worst <= limit
    assert result.budget.spent.tokens == provider.billed.total <= limit
    assert result.outputs == (Text("507"),)  # 33,000 / (40 + 8 + 1 + 16): each hold is 65 tokens


@in_virtual_time
async def test_child_threads_share_or_carve_and_stay_within_depth() -> None:
    """A child has its own cap, its end is its result, and nesting is bounded."""
    results: list[object] = []

    @agent(peers=["writer", "nest"])
    async def boss(message: Text, ctx: Context) -> Text:
        shared = await ctx.spawn("writer", Text("a"), limits=Limits(calls=1))
        carved = await ctx.spawn("writer", Text("b"), limits=Limits(calls=2), budget="carved")
        results.extend([shared, carved, ctx.budget.spent.calls])
        return Text("done")

    @agent(peers=["nest"])
    async def nest(message: Text, ctx: Context) -> Text:
        inner = await ctx.spawn("nest", message)
        return inner.outputs[0] if inner.outputs else Text(inner.reason or "")  # type: ignore[return-value]

    organism = make(boss, llm_agent("writer"), nest, limits=Limits(calls=5), bounds=Bounds(depth=3, attempts=1))
    closed: list[ThreadClosed] = []
    organism.usage.subscribe(closed.append, ThreadClosed)  # type: ignore[arg-type]
    async with organism:
        await organism.run("go")
        deep = await organism.run("go", to="nest")

    shared, carved, spent = results
    assert [shared.outcome, carved.outcome, spent] == ["completed", "completed", 2]  # type: ignore[attr-defined]
    assert "depth" in str(deep.outputs)
    assert len({event.thread_id for event in closed}) == len(closed) == 7
    assert left_nothing(organism)


@in_virtual_time
async def test_carved_child_without_a_needed_limit_is_a_mistake_and_not_tried_again() -> None:
    """What can never work fails at once and says what to give, instead of being paid for again and again."""

    @agent(peers=["writer"])
    async def boss(message: Text, ctx: Context) -> None:
        await ctx.spawn("writer", Text("a"), limits=Limits(calls=1), budget="carved")

    organism = make(boss, llm_agent("writer"), limits=Limits(tokens=500), bounds=Bounds(attempts=5))
    async with organism:
        result = await organism.run("go")

    assert result.outcome == "failed"
    (letter,) = organism.dead_letters()
    assert "needs its own limit of tokens" in letter.detail
    assert left_nothing(organism)


@in_virtual_time
async def test_each_thread_closes_once_with_the_ledger_s_totals() -> None:
    """One final event per thread, and its numbers are the sum of its usage events."""
    organism = make(llm_agent("a", next="b"), llm_agent("b"))
    closed: list[ThreadClosed] = []
    usage: list[UsageEvent] = []
    organism.usage.subscribe(closed.append, ThreadClosed)  # type: ignore[arg-type]
    organism.usage.subscribe(usage.append, UsageEvent)  # type: ignore[arg-type]
    async with organism:
        threads = [await organism.open_thread("go") for _ in range(20)]
        for thread in threads:
            await organism.wait(thread)

    assert sorted(event.thread_id for event in closed) == sorted(threads)
    for event in closed:
        own = [u.usage.total for u in usage if u.thread_id == event.thread_id]
        assert event.budget.spent.tokens == sum(own)
        assert event.budget.held == ZERO
    assert organism.usage.total.usage.total == sum(u.usage.total for u in usage)


# -- the end -----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_terminate_is_idempotent_and_leaves_nothing() -> None:
    """A hundred orders to end one thread end it once, and nothing of it or its children is left."""

    @agent(peers=["slow", "boss"])
    async def boss(message: Text, ctx: Context) -> None:
        ctx.send("slow", Text("x"), delay_s=5)
        await ctx.spawn("slow", Text("x"))

    @agent()
    async def slow(message: Text, ctx: Context) -> None:
        await ctx.llm.complete("x", max_output_tokens=16)
        await anyio.sleep(1000)

    organism = make(boss, slow, provider=ScriptedProvider(["x y z"], latency_s=2))
    closed: list[ThreadClosed] = []
    organism.usage.subscribe(closed.append, ThreadClosed)  # type: ignore[arg-type]
    async with organism:
        thread = await organism.open_thread("go")
        await anyio.sleep(1)
        results = []

        async def end() -> None:
            results.append(await organism.terminate(thread))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(end)
        assert left_nothing(organism)
        assert await organism.terminate(thread) is results[0]
        with pytest.raises(ThreadClosedError, match="not open"):
            await organism.send(thread, "more")
        with pytest.raises(ConfigError, match="never used again"):
            await organism.open_thread("go", thread_id=thread)

    assert len(set(map(id, results))) == 1
    assert [event.outcome for event in closed] == ["terminated", "terminated"]
    assert closed[-1].thread_id == thread
    assert closed[-1].budget.spent.calls == 1, "the call under way was charged"


@in_virtual_time
async def test_drain_waits_for_work_and_takes_no_more() -> None:
    """Stopping in good order finishes what was begun and refuses what is new."""

    @agent()
    async def slow(message: Text, ctx: Context) -> Text:
        await anyio.sleep(5)
        return Text("finished")

    organism = make(slow)
    async with organism:
        thread = await organism.open_thread("go")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(organism.drain)
            await anyio.sleep(1)
            with pytest.raises(StoppedError, match="stopping"):
                await organism.open_thread("more")
            assert (await organism.wait(thread)).outputs == (Text("finished"),)


@in_virtual_time
async def test_error_of_the_embedder_comes_out_as_it_is() -> None:
    """Whatever is raised inside ``async with organism`` is raised by it, not wrapped in a group."""
    organism = make(echo)

    async def embed() -> None:
        async with organism:
            await organism.open_thread("go")
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await embed()
    assert left_nothing(organism)


@in_virtual_time
async def test_a_child_that_another_order_ends_meanwhile_keeps_no_parent_from_its_end() -> None:
    """Orders to end a thread and one of its children at once: both come to their end, with nothing left."""

    @agent(peers=["slow"])
    async def boss(message: Text, ctx: Context) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(ctx.spawn, "slow", Text("x"))

    @agent()
    async def slow(message: Text, ctx: Context) -> None:
        await ctx.llm.complete("x", max_output_tokens=16)

    organism = make(boss, slow, provider=ScriptedProvider(["x y z"], latency_s=5))
    async with organism:
        thread = await organism.open_thread("go")
        await anyio.sleep(1)
        children = organism.thread(thread).children
        with anyio.fail_after(100):
            async with anyio.create_task_group() as tasks:
                for each in (thread, *reversed(children)):
                    tasks.start_soon(organism.terminate, each)
        assert len(children) == 3
        assert left_nothing(organism)


@in_virtual_time
async def test_a_thread_that_is_resumed_while_the_organism_stops_keeps_nothing_from_its_end() -> None:
    """A handler that takes its time to end, with a message behind it, ends though its thread is let go on."""

    @agent()
    async def slow(message: Text, ctx: Context) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)

    organism = make(slow, journal=CrashingJournal())

    async def resume_later(thread: str) -> None:
        await anyio.sleep(1)
        with suppress(StoppedError):
            await organism.control.resume_thread(thread)

    with anyio.fail_after(100):
        async with anyio.create_task_group() as orders, organism:
            thread = await organism.open_thread("go")
            await organism.send(thread, "go on")
            await anyio.sleep(1)
            await organism.control.pause_thread(thread)
            orders.start_soon(resume_later, thread)
    assert [view.thread_id for view in organism.threads()] == [thread]
