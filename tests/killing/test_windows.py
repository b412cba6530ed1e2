"""Limits over an hour, a day and any hour, of a daemon that is killed: windows end while it is dead, and none twice."""

from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import Any

import anyio
import pytest

from organism.amounts import NS_PER_S
from organism.ledger.entries import AnyEntry, Dispatched, Released, Reserved, Settled
from organism.ledger.windows import is_over
from organism.testing.audit import audit_journal
from organism.testing.books import Books
from organism.usage.events import ThreadBlocked
from tests.killing.cell import PATIENCE_S, Cell, Plan, Promise
from tests.killing.killable import AHEAD_S
from tests.killing.lives import Life, Midwife

pytestmark = [pytest.mark.anyio, pytest.mark.killing]

HOUR_S = 3600
HOUR_CALLS, DAY_CALLS, ROLLING_CALLS = 3, 8, 1
LIVES_MAX = 40
ROLLING = "label:tenant=acme@rolling:1h"
CONFIG = f"""\
name: timed
entry: front
python_path: ["{{crew}}"]
limits:
  thread: {{{{tokens: 100000, usd: 5}}}}
  day: {{{{calls: {DAY_CALLS}}}}}
  agents: {{{{front: {{{{calls: {HOUR_CALLS}, per: hour}}}}}}}}
  labels: {{{{tenant: {{{{calls: {ROLLING_CALLS}, per: 1h}}}}}}}}
llm:
  providers:
    fake:
      type: openai
      base_url: "{{url}}/v1"
      api_key: "${{{{env:FAKE_API_KEY}}}}"
      circuit: {{{{failures: 1000}}}}
  models: {{{{main: fake/m}}}}
  backoff: {{{{first_seconds: 0.02, max_seconds: 0.1}}}}
prices:
  fake/m: {{{{input: 2, output: 8}}}}
agents:
  front: {{{{handler: "crew:front", next: counter, peers: [counter]}}}}
  counter: {{{{handler: "crew:counter"}}}}
"""


class TimedCell(Cell):
    """A daemon whose limits are spent again and again; whenever it is dead, time has passed."""

    config = CONFIG
    ahead_s = 0

    async def _start(self, **environment: str) -> Life:
        self.ahead_s += self.chance.choice([600, 2400, HOUR_S, 7 * HOUR_S])
        return await super()._start(**environment, **{AHEAD_S: str(self.ahead_s)})

    async def converse(self, thread_id: str) -> None:
        """Have two messages handled; nobody raises a limit."""
        self.promises[thread_id] = Promise(kind="plain")
        body: dict[str, Any] = {"thread_id": thread_id, "text": "0 plain"}
        if int(thread_id[-1]) % 2:
            body["labels"] = {"tenant": "acme"}
        while await self.request("POST", "/v1/threads", body) is None:
            pass
        while await self.request("POST", f"/v1/threads/{thread_id}/messages", {"text": "1 plain"}) is None:
            pass
        while not await self._has_ended(thread_id):  # noqa: ASYNC110 - another process
            await anyio.sleep(0.05)

    async def _has_ended(self, thread_id: str) -> bool:
        seen = await self.request("GET", f"/v1/threads/{thread_id}")
        return seen is not None and (seen.status_code == 404 or bool(seen.json()["thread"]["closed_ns"]))

    async def live_until_all_is_done(self, threads: int) -> int:
        """Live and die until every conversation has ended; return how many lives that took."""
        lives = 0
        async with self.provider, self._tasks:
            async with anyio.create_task_group() as clients:

                async def talk() -> None:
                    async with anyio.create_task_group() as lines:
                        for number in range(threads):
                            lines.start_soon(self.converse, f"{self.name}-{number}")
                    done.set()

                done = anyio.Event()
                clients.start_soon(talk)
                while not done.is_set() and (lives := lives + 1) < LIVES_MAX:
                    await self.live(Plan(after_s=self.chance.uniform(0.8, 2.5)))
                clients.cancel_scope.cancel()
            for client in self._clients:
                await client.aclose()
        return lives


class Windows:
    """What was counted on each account, by the instants of the entries."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.used = Counter[str]()
        self._accounts: dict[str, tuple[str, ...]] = {}
        self._settled: list[int] = []
        self._open: set[str] = set()

    def follow(self, _books: Books, entry: AnyEntry) -> None:
        """Take the next entry in, and judge it."""
        match entry:
            case Reserved(call=call, hold_id=hold_id) if call is not None:
                self._accounts[hold_id] = entry.accounts
                if ROLLING in entry.accounts:
                    self._open.add(hold_id)
                    self._judge_rolling(entry.time_ns)
            case Dispatched(hold_id=hold_id):
                over = [name for name in self._accounts[hold_id] if is_over(name, entry.time_ns, UTC)]
                self.wrong.extend(f"{hold_id} has left on {name}, which is over" for name in over)
            case Settled(hold_id=hold_id):
                self._open.discard(hold_id)
                if ROLLING in self._accounts[hold_id]:
                    self._settled.append(entry.time_ns)
                self.used.update(self._accounts[hold_id])
            case Released(hold_id=hold_id):
                self._open.discard(hold_id)
            case _:
                pass

    def _judge_rolling(self, now_ns: int) -> None:
        recent = sum(now_ns - at < HOUR_S * NS_PER_S for at in self._settled)
        if recent + len(self._open) > ROLLING_CALLS:
            self.wrong.append(f"{recent} calls within the hour before {now_ns}, and {len(self._open)} held")


async def test_windows_that_end_while_the_daemon_is_dead_are_counted_anew_and_no_other(
    tmp_path: Path, seed: int
) -> None:
    """What waits for an hour, a day or an hour's spend to end goes on by itself in the life in which it has ended."""
    async with Midwife(warm=True) as midwife:
        cell = TimedCell("timed", tmp_path, midwife, seed)
        with anyio.fail_after(4 * PATIENCE_S):
            lives = await cell.live_until_all_is_done(threads=8)
    windows = Windows()
    audit = audit_journal(tmp_path / ".organism" / "journal.db", follow=windows.follow)

    assert lives < LIVES_MAX, cell.log()
    assert audit.findings + windows.wrong == []
    for account, calls in windows.used.items():
        most = {"agent": HOUR_CALLS, "organism": DAY_CALLS}.get(account.partition("@")[0].partition(":")[0])
        assert most is None or calls <= most, account
    waited = {event.shortfall.account.partition("@")[2].partition(":")[0] for event in audit.events
              if isinstance(event, ThreadBlocked)}  # fmt: skip
    assert waited >= {"hour", "day", "rolling"}
    assert {thread_id for thread_id in cell.promises if not audit.closed[thread_id]} == set()
