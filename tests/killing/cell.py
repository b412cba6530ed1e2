"""A daemon with everything around it: a provider that keeps its own bill, clients that know what they were promised.

The daemon lives many short lives on one state folder; provider and clients stay. At the end one life goes on until all
is done, and then the books of all three are compared.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx2
import msgspec

from organism.amounts import ZERO
from organism.budget.guards.freezes import FREEZE_ACCOUNT
from organism.daemon.state_folder import read_address
from organism.ledger.entries import AnyEntry, Settled
from organism.testing import HTTPStep, ScriptedHTTPProvider
from organism.testing.audit import Audit, audit_journal
from organism.testing.books import Books
from organism.testing.http_provider import ReceivedRequest
from organism.testing.kill_points import KILL_AT
from organism.testing.simulate.guard_checks import GuardChecks
from organism.threads.records import ResultRecord
from organism.usage.events import ApprovalRequested, BudgetExceeded, DeadLetterEvent, ThreadBlocked
from tests.killing.configuration import CONFIG, TOKENS, actions_of
from tests.killing.crew import WORDS
from tests.killing.lives import KILLED, Life, Midwife
from tests.killing.orders import Orders
from tests.killing.shapes import REFUSALS, doubtful, shaped

PATIENCE_S = 60.0
"""Seconds after which something that must happen is said not to have happened."""

UNREACHED_S = 6.0
"""Seconds after which a life that does not come to its point is ended anyhow."""

PRICE = {"input": 2, "output": 8}
"""Dollars per million tokens: 2,000 and 8,000 nano-USD a token."""

WAITS = BudgetExceeded | ThreadBlocked | ApprovalRequested

KINDS = ("plain", "buy", "ask", "spawn", "grant", "window", "stream", "loop", "miser")
"""What conversations are for."""

NONE_LEFT = 150
"""Tokens of a thread that is to run out of budget."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a life ends.

    Attributes:
        point: At a kill-point of the program, or
        request: at the provider's n-th request, counted from 1,
        answering: at its first bytes instead of its arrival, or
        after_s: so many seconds after its beginning.
    """

    point: str = ""
    request: int = 0
    answering: bool = False
    after_s: float = 0.0


class Promise(msgspec.Struct, kw_only=True):
    """What a client knows of its thread.

    Attributes:
        accepted: The numbers of messages that were answered with 202.
        unsure: Those of which it never heard.
        ended: Whether it has asked for the thread's end.
        stays: Whether nobody raises its limit.
        kind: What it is for.
    """

    accepted: list[int] = []
    unsure: list[int] = []
    ended: bool = False
    stays: bool = False
    kind: str = ""


class Cell:
    """One daemon, its provider and its clients.

    Args:
        name: Begins the ids of its threads.
        folder: Where it lives.
        midwife: Starts its lives.
        seed: What its chance comes from.

    Attributes:
        config: How it is configured, with the provider's address and the crew's folder left open.
    """

    config = CONFIG

    def __init__(self, name: str, folder: Path, midwife: Midwife, seed: int) -> None:
        self.name = name
        self.folder = folder
        self.chance = random.Random(seed)
        self.promises: dict[str, Promise] = {}
        self.kills: Counter[str] = Counter()
        self.met: Counter[str] = Counter()
        self.provider = ScriptedHTTPProvider(self._answer)
        self.orders = Orders(self.request, random.Random(seed + 1))
        self._midwife = midwife
        self._client: httpx2.AsyncClient | None = None
        self._clients: list[httpx2.AsyncClient] = []
        self._up = anyio.Event()
        self._plan: Plan = Plan()
        self._life: Life | None = None
        self._requests = 0
        self._quiet = False
        self._tasks = anyio.create_task_group()

    # -- the provider ---------------------------------------------------------------------------------------------

    def _answer(self, request: ReceivedRequest) -> HTTPStep:
        """Answer one way or another, and kill where the plan says so."""
        self._requests += 1
        step = self._step()
        if request.body.get("stream") and "say more" in str(request.body) and self.chance.random() < 0.6:
            step = HTTPStep(text=" ".join(["word"] * 200), metered=True, pause_s=0.002)  # whatever its cap
        if self._life is not None and self._requests == self._plan.request:
            if self._plan.answering:
                self._tasks.start_soon(self._kill_soon, self._life)
                return HTTPStep(text=step.text, drip_s=0.001)
            self._life.kill()
        return step

    def _step(self) -> HTTPStep:
        text = " ".join(["word"] * self.chance.randint(1, WORDS))
        odd = [
            HTTPStep(status=500),
            HTTPStep(status=429, headers={"retry-after": "0"}),
            HTTPStep(status=503, body=""),  # nobody knows whether that was billed
            HTTPStep(text=text, fault="reset"),
            HTTPStep(text=text, fault="cut"),
            HTTPStep(text=text, usage=""),
            HTTPStep(text=text, delay_s=0.1),
            HTTPStep(text=text, delay_s=0.4),
            self.chance.choice(REFUSALS),
            self.chance.choice(doubtful(text)),
        ]
        if self._quiet or self.chance.random() < 0.6:
            # As the reference has it, or as somebody else's server does: it means the same.
            shape = shaped(self.chance.getrandbits(32)) if self.chance.random() < 0.6 else None
            return HTTPStep(text=text, shape=shape)
        return self.chance.choice(odd)

    async def _kill_soon(self, life: Life) -> None:
        await anyio.sleep(0.05)
        life.kill()

    # -- lives ----------------------------------------------------------------------------------------------------

    async def live(self, plan: Plan) -> None:
        """Let the daemon live once, and see that it dies by the plan."""
        self._plan, self._requests = plan, 0
        life = self._life = await self._start(**({KILL_AT: plan.point} if plan.point else {}))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._open_up, life)
            how = plan.point.partition(":")[0] or (
                f"provider.{'answering' if plan.answering else 'asked'}" if plan.request else "chance"
            )
            with anyio.move_on_after(plan.after_s or UNREACHED_S) as wait:
                await life.wait()
            if wait.cancelled_caught:
                if not plan.after_s:
                    how = "unreached"
                life.kill()
            code = await life.wait()
            tasks.cancel_scope.cancel()
        self._shut()
        assert code == KILLED, f"{self.name} ended by itself with {code}:\n{self.log()}"
        self.kills[how] += 1

    async def _start(self, **environment: str) -> Life:
        (self.folder / "organism.yaml").write_text(
            self.config.format(url=self.provider.url, crew=Path(__file__).parent), encoding="utf-8"
        )
        arguments = ("daemon", "--port", "0", "--log-format", "json")
        return await self._midwife.start(self.folder, *arguments, FAKE_API_KEY="none", **environment)

    async def _open_up(self, life: Life) -> None:
        """Tell the clients where it answers, once it does."""
        state = self.folder / ".organism"
        while (address := read_address(state)) is None or address.pid != life.pid:  # noqa: ASYNC110 - another process
            await anyio.sleep(0.02)
        token = (state / "token").read_text(encoding="ascii").strip()
        self._client = httpx2.AsyncClient(base_url=address.url, headers={"authorization": f"Bearer {token}"})
        self._clients.append(self._client)
        self._up.set()

    def _shut(self) -> None:
        up, self._client, self._life, self._up = self._up, None, None, anyio.Event()
        up.set()  # whoever waits for this life waits for the next one

    def log(self) -> str:
        """Return the last lines the daemon has logged."""
        return "\n".join((self.folder / "stderr.log").read_text(encoding="utf-8").splitlines()[-20:])

    # -- clients --------------------------------------------------------------------------------------------------

    async def request(self, method: str, path: str, body: object = None) -> httpx2.Response | None:
        """Make a request of whoever lives then; ``None`` when no answer came."""
        while self._client is None:
            await self._up.wait()
        try:
            return await self._client.request(method, path, json=body, timeout=PATIENCE_S)
        except (httpx2.HTTPError, anyio.ClosedResourceError):
            await anyio.sleep(0.02)  # it is dead, but that may not be known yet
            return None

    async def converse(self, thread_id: str) -> None:
        """Open a thread, write into it, end it or see to its budget, and wait for its end."""
        kind = self.chance.choice(KINDS)
        poor = kind not in ("grant", "window") and self.chance.random() < 0.35
        promise = self.promises[thread_id] = Promise(stays=poor and self.chance.random() < 0.2, kind=kind)
        body: dict[str, Any] = {"thread_id": thread_id, "text": f"0 {kind}"}
        if poor:
            body["limits"] = {"tokens": NONE_LEFT}
        if tenant := self.chance.choice(["acme", "beta", ""]):
            body["labels"] = {"tenant": tenant}
        while (answer := await self.request("POST", "/v1/threads", body)) is None:
            pass
        assert answer.status_code == 202 or "never used again" in answer.text, answer.text
        promise.accepted.append(0)
        for number in range(1, self.chance.randint(1, 4)):
            sent = await self.request("POST", f"/v1/threads/{thread_id}/messages", {"text": f"{number} {kind}"})
            if sent is None:
                promise.unsure.append(number)
            elif sent.status_code == 202:
                promise.accepted.append(number)
            else:
                assert sent.status_code == 404, sent.text
                break
        if self.chance.random() < 0.2:
            await self._end(thread_id, promise)
        await self._see_to_its_end(thread_id, promise)

    async def _end(self, thread_id: str, promise: Promise) -> None:
        promise.ended = True
        while await self.request("DELETE", f"/v1/threads/{thread_id}") is None:
            pass

    async def _see_to_its_end(self, thread_id: str, promise: Promise) -> None:
        while True:
            # A life that is to end at an end is given one: by chance alone some have none within their time.
            if self._plan.point.startswith("terminate.") and not promise.ended:
                await self._end(thread_id, promise)
            seen = await self.request("GET", f"/v1/threads/{thread_id}")
            if seen is not None and (seen.status_code == 404 or seen.json()["thread"]["closed_ns"]):
                return
            await self.orders.answer(thread_id)
            if seen is not None and seen.json()["thread"]["state"] == "paused":  # by the breaker
                await self.request("POST", f"/v1/threads/{thread_id}/resume")
            elif seen is not None and (refused := seen.json()["thread"]["blocked_by"]) is not None:
                if promise.stays:
                    return
                if (account := refused["account"]) != FREEZE_ACCOUNT:
                    short = account.removeprefix("thread:")  # its own, or that of a child it waits for
                    await self.request("PUT", f"/v1/threads/{short}/limits", {"tokens": 5000, "usd": "0.1"})
            await anyio.sleep(0.05)

    # -- from beginning to end ------------------------------------------------------------------------------------

    async def run(self, plans: Iterable[Plan], conversations: int = 4) -> None:
        """Live through the plans under load, then come to rest in a last life that is stopped in good order."""
        async with self.provider, self._tasks:
            stopping = anyio.Event()

            async def keep_talking(line: int) -> None:
                number = 0
                while not stopping.is_set():
                    await self.converse(f"{self.name}-{line}-{number}")
                    number += 1

            async with anyio.create_task_group() as clients:
                clients.start_soon(self.orders.freeze_now_and_then, stopping)
                for line in range(conversations):
                    clients.start_soon(keep_talking, line)
                for plan in plans:
                    await self.live(plan)
                stopping.set()
                self._quiet = True
                self._plan = Plan()
                last = self._life = await self._start()
                with anyio.fail_after(PATIENCE_S):
                    await self._open_up(last)
                clients.cancel_scope.deadline = anyio.current_time() + PATIENCE_S
            assert not clients.cancel_scope.cancelled_caught, f"not all came to an end:\n{self.log()}"
            last.kill(15)
            with anyio.fail_after(PATIENCE_S):
                assert await last.wait() == 0, self.log()
            self._shut()
            for client in self._clients:
                await client.aclose()

    # -- the books ------------------------------------------------------------------------------------------------

    def audit(self) -> tuple[Audit, list[str]]:
        """Compare the journal, the bill and the promises; return the audit and what is not right, in sentences."""
        wrong: list[str] = []
        guards: list[GuardChecks] = []

        def follow(books: Books, entry: AnyEntry) -> None:
            if not guards:
                guards.append(GuardChecks(books, wrong.append, lambda what: self.met.update([what])))
            guards[0].enter(entry, actions_of)
            self.met["stopped in mid-stream"] += isinstance(entry, Settled) and entry.truncated

        audit = audit_journal(self.folder / ".organism" / "journal.db", follow=follow)
        wrong += audit.findings
        self.met.update(type(event).__name__ for event in audit.events)
        if audit.unresolved:
            wrong.append(f"{len(audit.unresolved)} holds are unresolved: {audit.unresolved}")
        wrong.extend(self._lost(audit))
        wrong.extend(self._underrecorded(audit))
        wrong.extend(self._disorder(audit))
        timed = {thread_id for thread_id, promise in self.promises.items() if promise.kind == "window"}
        wrong.extend(self.orders.wrong(audit, TOKENS, timed))
        wrong.extend(f"dead letter: {e}" for e in audit.events if isinstance(e, DeadLetterEvent) and not self._ended(e))
        return audit, wrong

    def _ended(self, letter: DeadLetterEvent) -> bool:
        promise = self.promises.get(letter.root_thread_id)
        return (
            promise is not None
            and promise.ended
            and letter.reason in ("thread_terminated", "late_reply", "not_deliverable")
        )

    def _lost(self, audit: Audit) -> list[str]:
        wrong = []
        for thread_id, promise in self.promises.items():
            closed = audit.closed[thread_id]
            if closed + (thread_id in audit.alive) != 1:
                wrong.append(
                    f"{thread_id} was accepted, is closed {closed} times, and alive: {thread_id in audit.alive}"
                )
            if thread_id in audit.alive and not promise.stays:
                wrong.append(f"{thread_id} has not come to its end")
        return wrong

    def _underrecorded(self, audit: Audit) -> list[str]:
        """Compare what was recorded for each message with what the provider, and the shop, would charge for it.

        Nobody is there to stop a stream, or to count it, once the daemon is killed: what its provider then writes above
        the cap it was sent is not promised to be recorded. So much is forgiven each call that was charged its whole
        hold, and no other.
        """
        billed, cost = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        above_cap = defaultdict[tuple[str, str], list[int]](list)
        for request, usage in zip(self.provider.billed_for, self.provider.bill, strict=True):
            thread_id, message_id, *_ = str(request.body["messages"][-1]["content"]).split()
            billed[thread_id, message_id] += usage.total
            cost[thread_id, message_id] += usage.input * PRICE["input"] * 1000 + usage.output * PRICE["output"] * 1000
            above_cap[thread_id, message_id].append(max(0, usage.output - WORDS))
        whole_holds = Counter(
            (line.call.thread_id, line.call.message_id)
            for line in audit.lines
            if line.call is not None and line.source in ("", "worst_case")
        )
        for key, calls in whole_holds.items():
            forgiven = sum(sorted(above_cap[key], reverse=True)[:calls])
            billed[key] -= forgiven
            cost[key] -= forgiven * PRICE["output"] * 1000
        bought = self.folder / "bought.log"
        for line in bought.read_text(encoding="utf-8").splitlines() if bought.exists() else ():
            thread_id, _, message_id, nanousd = line.split()
            billed[thread_id, message_id] += 0
            cost[thread_id, message_id] += int(nanousd)
        recorded = audit.recorded()
        return [
            f"{key} was billed {billed[key]} tokens and {cost[key]} nano-USD, but recorded as {recorded.get(key)}"
            for key in billed
            if recorded.get(key, ZERO).tokens < billed[key] or recorded.get(key, ZERO).cost_nanousd < cost[key]
        ]

    def _disorder(self, audit: Audit) -> list[str]:
        """Read what came out, and the handlers' own log: everything in the order of acceptance, and its effects once.

        A run whose end was not kept runs again, and so does what had begun behind it: in the log only the last run of a
        message tells its place, and only once nothing that came of it waits any more. Threads in which a call was
        refused are asked for less: a message that waits for budget is overtaken by those that can go on, by design.
        """
        wrong = []
        waited = {e.root_thread_id for e in audit.events if isinstance(e, WAITS)}
        last_runs: dict[tuple[str, str], dict[tuple[int, ...], None]] = defaultdict(dict)
        for line in (self.folder / "handled.log").read_text(encoding="utf-8").splitlines():
            thread_id, agent, _message_id, *what = line.split()
            message = _numbers({"text": " ".join(what)})
            last_runs[thread_id, agent].pop(message, None)
            last_runs[thread_id, agent][message] = None
        for (thread_id, agent), runs in last_runs.items():
            promise = self.promises.get(thread_id, Promise(ended=True))  # of a child, one message is known
            waiting = {number for envelope in audit.waiting[thread_id] for number in _numbers(envelope["payload"])[:1]}
            # What was taken and never acknowledged may be gone; what was ended may not have run again.
            order = [message for message in runs if message[0] in promise.accepted and message[0] not in waiting]
            if order != sorted(order) and not (promise.ended or thread_id in waited):
                wrong.append(f"{agent} in {thread_id} was given messages out of order: {order}, {waiting} wait")
        for thread_id, promise in self.promises.items():
            if not promise.ended and thread_id in audit.results:
                end = audit.results[thread_id]
                wrong.extend(self._wrong_outputs(thread_id, promise, end, in_order=thread_id not in waited))
        return wrong

    def _wrong_outputs(self, thread_id: str, promise: Promise, end: ResultRecord, *, in_order: bool) -> list[str]:
        """Each message must have sent its three parts once, and each part must have been counted once."""
        said = [tuple(map(int, str(msgspec.json.decode(output)["text"]).split())) for output in end.outputs]
        handled = [number for number, part, _ in said if part == 0]
        expected = [(number, part) for number in handled for part in range(3)]
        whole = [(number, part, count) for count, (number, part) in enumerate(expected, 1)]
        possible = {*promise.accepted, *promise.unsure}
        order = sorted(handled) if in_order else handled
        if (
            said != whole
            or handled != order
            or len(set(handled)) != len(handled)
            or not set(promise.accepted) <= set(handled) <= possible
        ):
            return [f"{thread_id} was promised {promise.accepted}, perhaps {promise.unsure}, and has said {said}"]
        return []


def _numbers(payload: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers that a text of the crew carries: first that of the client's message it comes from."""
    return tuple(int(word) for word in str(payload.get("text", "")).split() if word.isdecimal())
