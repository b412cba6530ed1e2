"""A person is asked once for a whole cluster whether a limit that all share may go on, and one answer is for all."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import anyio
import pytest

from organism import Limits, Organism
from organism.budget.scopes import BudgetPlan, ScopeRule
from organism.errors import BudgetExhaustedError
from organism.llm.requests import ChatMessage, CompletionRequest
from organism.stores.postgres.cluster_events import ClusterEvents
from organism.testing.postgres_server import PostgresServer
from organism.threads.approvals import Approval, Decision, UnknownApprovalError
from organism.usage.events import ApprovalDecided, ApprovalRequested, OperatorAction
from tests.cluster.house import ALL, PARTITIONS, House, audited, house, sums
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

ASKS = ScopeRule(actions=((50, "approve"), (75, "approve")), thresholds=(50, 75))
PLAN = BudgetPlan(windows={"lifetime": Limits(calls=60)}, rules={"lifetime": ASKS})

DIED = "UPDATE organism.leases SET owner = 'z', epoch = epoch + 1, expires = '-infinity' WHERE p ="
KEPT_AWAY = "UPDATE organism.leases SET owner = 'z', expires = 'infinity' WHERE p ="
FREE = "UPDATE organism.leases SET owner = NULL WHERE p ="
LEFT_BEHIND = (
    "INSERT INTO organism.questions (account, revision, threshold, p, asked_ns, thread_id, root, agent, detail) "
    "VALUES ('organism@lifetime', 1, 50, 1, 7, 't', 't', 'writer', 'more than half')"
)
REQUEST = CompletionRequest(model="main", messages=(ChatMessage("user", "write"),), max_output_tokens=16)

NOTHING = Approval("", "", "", "", "", what="", detail="", asked_ns=0)


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


class Writers:
    """Threads that write, in all partitions."""

    def __init__(self, cluster: House) -> None:
        self.cluster = cluster
        self.threads: list[tuple[int, str]] = []
        self.ends: list[str] = []

    async def open(self, threads: int) -> None:
        """Open so many in each partition."""
        for partition, organism in self.organisms.items():
            self.threads += [(partition, await organism.open_thread("write")) for _ in range(threads)]

    @property
    def organisms(self) -> dict[int, Organism]:
        """Of all partitions that somebody has."""
        return {number: each for node in self.cluster.nodes for number, each in node.organisms.items()}

    def waiting(self) -> dict[int, tuple[Approval, ...]]:
        """What people are asked, by partition."""
        return {number: each.approvals.waiting() for number, each in self.organisms.items()}

    def is_asked(self) -> bool:
        """Whether all partitions wait for one and the same answer."""
        asked = self.waiting()
        return len(asked) == PARTITIONS and {tuple(each.id for each in some) for some in asked.values()} == {
            (self.question.id,)
        }

    @property
    def question(self) -> Approval:
        """The one question."""
        asked = {each.id: each for some in self.waiting().values() for each in some}
        return next(iter(asked.values())) if len(asked) == 1 else NOTHING

    async def end(self) -> None:
        """Wait for all; those that were refused are counted as such."""

        async def run(partition: int, thread: str) -> None:
            try:
                self.ends.append((await self.organisms[partition].wait(thread)).outcome)
            except BudgetExhaustedError:
                self.ends.append("refused")

        await until(lambda: not any(self.waiting().values()))
        async with anyio.create_task_group() as tasks:
            for each in self.threads:
                tasks.start_soon(run, *each)


@asynccontextmanager
async def asked(url: str) -> AsyncIterator[Writers]:
    """Three nodes that have used half of their limit, and may use no more until a person has said so."""
    async with house(url, PLAN) as cluster:
        writers = Writers(cluster)
        await writers.open(11)
        await until(lambda: any(writers.waiting().values()))
        await writers.open(3)
        await until(writers.is_asked)
        yield writers


def events(url: str, kind: type) -> list[tuple[int, str]]:
    """Return the events of a kind that the journals hold: of which partition, and what about."""
    with closing(ClusterEvents(url)) as reader:
        found = reader.after(dict.fromkeys(range(PARTITIONS), 0), 10_000)
    return [
        (number, getattr(event, "approval_id", "") or getattr(event, "action", ""))
        for number, some in found.items()
        for event in some
        if isinstance(event, kind)
    ]


def asker_of(postgres: PostgresServer, url: str) -> int:
    """Return the partition that has asked."""
    return int(postgres.execute("SELECT p FROM organism.questions", url)[0][0])


async def test_a_yes_at_any_node_lets_all_of_them_go_on(url: str, postgres: PostgresServer) -> None:
    """Until then exactly what is before the threshold is used; at the next threshold another question is asked."""
    async with asked(url) as writers:
        assert writers.cluster.calls == 30
        first = writers.question
        assert first.what == "to go on at 50 %"
        assert sum(each.control.status().approvals for each in writers.organisms.values()) == 1
        other = next(each for number, each in writers.organisms.items() if number != asker_of(postgres, url))
        await other.approvals.decide(first.id, Decision(allowed=True))
        await writers.end()
        assert (writers.cluster.calls, set(writers.ends)) == (42, {"completed"})
        await writers.open(4)
        await until(lambda: writers.question.what == "to go on at 75 %" and writers.is_asked())
        assert writers.cluster.calls == 45
        second = writers.question
        await other.approvals.decide(second.id, Decision(allowed=True))
        await until(lambda: writers.cluster.calls == 54)
        for organism in writers.organisms.values():
            await until(lambda of=organism: 75 in of.ledger.balance(ALL).passed)  # type: ignore[misc]
    for kind in (ApprovalRequested, ApprovalDecided):
        assert sorted(each for _, each in events(url, kind)) == sorted((first.id, second.id))
    assert [action for _, action in events(url, OperatorAction)].count("approval.decide") == 2
    assert audited(url).findings == []
    assert sums(postgres, url)[ALL][1] <= 60


async def test_a_no_at_any_node_refuses_at_all(url: str) -> None:
    """What waits ends refused, and so does what comes later, at every node, without another question."""
    async with asked(url) as writers:
        first = writers.question
        await writers.organisms[0].approvals.decide(first.id, Decision(allowed=False, note="enough"))
        await writers.end()
        assert sorted(set(writers.ends)) == ["completed", "failed"]
        for organism in writers.organisms.values():
            await until(lambda of=organism: not of.approvals.waiting())  # type: ignore[misc]
            result = await organism.wait(await organism.open_thread("write"))
            assert result.outcome == "failed"
            assert "a person has not let organism@lifetime go on at 50 %: enough" in str(result)
        assert writers.cluster.calls == 30
    assert [each for _, each in events(url, ApprovalRequested)] == [first.id]
    assert [each for _, each in events(url, ApprovalDecided)] == [first.id]
    assert audited(url).findings == []


async def test_a_question_outlives_the_node_that_has_asked(url: str, postgres: PostgresServer) -> None:
    """Whoever has the asker's partition next goes on with its question; nobody asks it twice."""
    async with asked(url) as writers:
        first, asker = writers.question, asker_of(postgres, url)
        before = writers.organisms[asker]
        postgres.execute(f"{DIED} {asker}", url)
        await until(lambda: writers.organisms.get(asker, before) is not before)
        await until(writers.is_asked)
        assert writers.question.id == first.id
        await writers.organisms[(asker + 1) % PARTITIONS].approvals.decide(first.id, Decision(allowed=True))
        await until(lambda: writers.cluster.calls == 42)
    assert events(url, ApprovalRequested) == [(asker, first.id)]
    assert events(url, ApprovalDecided) == [(asker, first.id)]
    assert audited(url).findings == []


async def test_an_answer_is_heard_by_a_partition_that_was_nobody_s(url: str, postgres: PostgresServer) -> None:
    """The asker's partition is taken up after the answer: what waits in it goes on, and it reports the answer."""
    async with asked(url) as writers:
        first, asker = writers.question, asker_of(postgres, url)
        postgres.execute(f"{KEPT_AWAY} {asker}", url)
        await until(lambda: asker not in writers.organisms)
        await writers.organisms[(asker + 1) % PARTITIONS].approvals.decide(first.id, Decision(allowed=True))
        await until(lambda: all(not some for some in writers.waiting().values()))
        postgres.execute(f"{FREE} {asker}", url)
        await until(lambda: writers.cluster.calls == 42)
    assert events(url, ApprovalRequested) == [(asker, first.id)]
    assert events(url, ApprovalDecided) == [(asker, first.id)]


async def test_what_was_asked_in_the_database_alone_is_reported_by_the_next_owner(
    url: str, postgres: PostgresServer
) -> None:
    """A node may end after the database has its question and before its journal has it: it is asked still, once."""
    async with house(url, PLAN) as cluster:
        writers = Writers(cluster)
        await writers.open(1)
        await until(lambda: cluster.calls == 3)
        before = writers.organisms[1]
        postgres.execute(LEFT_BEHIND, url)
        postgres.execute(f"{DIED} 1", url)
        await until(lambda: writers.organisms.get(1, before) is not before)
        await until(lambda: any(writers.waiting().values()))
        await writers.open(11)
        await until(lambda: cluster.calls == 30)
        await writers.open(1)
        await until(writers.is_asked)
        assert (writers.question.asked_ns, writers.question.detail, cluster.calls) == (7, "more than half", 30)
    assert [number for number, _ in events(url, ApprovalRequested)] == [1]


@pytest.mark.parametrize("allowed", [True, False])
async def test_what_was_answered_before_the_asker_s_journal_had_it_is_reported_by_the_next_owner(
    url: str, postgres: PostgresServer, *, allowed: bool
) -> None:
    """A node may end after the database has its question; what others have answered by then is told of, once."""
    async with house(url, PLAN) as cluster:
        writers = Writers(cluster)
        await writers.open(10)
        await until(lambda: postgres.execute("SELECT sum(s_calls) FROM organism.slices", url) == [(30,)])
        postgres.execute(f"{KEPT_AWAY} 1", url)
        await until(lambda: 1 not in writers.organisms)
        postgres.execute(LEFT_BEHIND, url)
        await writers.open(1)
        await until(lambda: writers.waiting()[2])
        first = writers.question
        await writers.organisms[2].approvals.decide(first.id, Decision(allowed))
        postgres.execute(f"{FREE} 1", url)
        await until(lambda: events(url, ApprovalDecided))
        before = writers.organisms[1]
        postgres.execute(f"{DIED} 1", url)  # the owner after that has nothing to add
        await until(lambda: writers.organisms.get(1, before) is not before)
        await cluster.use(1)
    assert events(url, ApprovalRequested) == [(1, first.id)]
    assert events(url, ApprovalDecided) == [(1, first.id)]


async def test_of_two_answers_at_once_one_is_for_all(url: str) -> None:
    """A yes and a no that cross: one of them is answered, the other one is too late, and no node does both."""
    async with asked(url) as writers:
        first, said = writers.question, []

        async def answer(organism: Organism, *, allowed: bool) -> None:
            try:
                await organism.approvals.decide(first.id, Decision(allowed))
                said.append(allowed)
            except UnknownApprovalError:
                pass

        async with anyio.create_task_group() as tasks:
            for number, organism in writers.organisms.items():
                tasks.start_soon(lambda each, yes: answer(each, allowed=yes), organism, number % 2 == 0)
        assert len(set(said)) == 1  # who says the same a moment later may be told so, too
        await until(lambda: not any(writers.waiting().values()))
        await writers.end()
        assert writers.cluster.calls == (42 if said[0] else 30)
    assert len(events(url, ApprovalDecided)) == 1


async def test_a_changed_limit_is_another_one_to_be_asked_about(url: str) -> None:
    """Raised at one node it goes on at all of them, up to its own threshold; what was asked before is over."""
    async with asked(url) as writers:
        first = writers.question
        await writers.organisms[2].control.set_limits(ALL, Limits(calls=70))
        await until(lambda: writers.question.id not in ("", first.id))
        await until(lambda: writers.cluster.calls == 35)
        asked_at = next(number for number, some in writers.waiting().items() if some)
        with pytest.raises(UnknownApprovalError, match="it was answered"):
            await writers.organisms[asked_at].approvals.decide(first.id, Decision(allowed=True))
        await writers.organisms[asked_at].approvals.decide(writers.question.id, Decision(allowed=True))
        await until(lambda: writers.cluster.calls == 42)
    assert audited(url).findings == []


async def test_a_program_s_call_is_refused_with_the_question_of_all(url: str) -> None:
    """A call from outside names the question that other nodes have; a yes lets it be made, a no refuses it at once."""
    async with asked(url) as writers:
        for organism, allowed in zip(writers.organisms.values(), (True, False), strict=False):
            standing = organism.control.external_threads
            standing.open("tap", "key")
            with pytest.raises(BudgetExhaustedError) as refused:
                await standing.complete("tap", "key", REQUEST)
            question = writers.question
            assert refused.value.approval_id == question.id
            await writers.organisms[2].approvals.decide(question.id, Decision(allowed))
            await until(lambda: not any(writers.waiting().values()))
            if allowed:
                await standing.complete("tap", "key", REQUEST)
                # All of before are done: what is opened now is too much before the next threshold in every partition.
                await until(lambda: writers.cluster.calls == 43)
                await writers.open(4)
                await until(writers.is_asked)
            else:
                with pytest.raises(
                    BudgetExhaustedError, match="has not let organism@lifetime go on at 75 %"
                ) as refused:
                    await standing.complete("tap", "key", REQUEST)
                assert not refused.value.approval_id
    assert len(events(url, ApprovalRequested)) == 2


async def test_no_slice_is_granted_beyond_what_a_person_was_asked(url: str, postgres: PostgresServer) -> None:
    """What the database has granted to all is no more than half before the yes, however much each would like."""
    async with asked(url):
        assert sums(postgres, url) == {ALL: (60, 30)}
