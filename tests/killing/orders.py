"""What people order a daemon that is killed meanwhile: freezes, and answers to agents that ask for more budget."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import anyio
import httpx2

from organism.testing.audit import Audit
from organism.threads.approvals import MORE_BUDGET
from organism.usage.events import ApprovalDecided, LimitChanged, SpendingFrozen

GRANTED = 50
"""Tokens that an agent asks for."""

FROZEN: tuple[dict[str, str], ...] = ({}, {"tenant": "acme"}, {"tenant": "beta"})

Request = Callable[[str, str, object], Awaitable[httpx2.Response | None]]
"""Makes a request of the daemon that lives then; ``None`` when no answer came."""


class Orders:
    """Gives orders until they are acknowledged, and remembers what holds since then.

    Args:
        request: Reaches the daemon.
        chance: Decides what is ordered.
    """

    def __init__(self, request: Request, chance: random.Random) -> None:
        self._request = request
        self._chance = chance
        self._wrong: list[str] = []
        self.freezes = 0

    async def freeze_now_and_then(self, stopping: anyio.Event) -> None:
        """Freeze something for a while, again and again: until it is lifted it stands, in whatever life."""
        while not stopping.is_set():
            labels = self._chance.choice(FROZEN)
            await self._until_done("POST", "/v1/freeze", {"labels": labels})
            self.freezes += 1
            for _ in range(self._chance.randint(1, 6)):
                seen = await self._request("GET", "/v1/freeze", None)
                if seen is not None and labels not in [each["labels"] for each in seen.json()["freezes"]]:
                    self._wrong.append(f"the freeze of {labels or 'everything'} was acknowledged, and is lost")
                await anyio.sleep(self._chance.uniform(0, 0.2))
            label = "".join(f"?label={name}={value}" for name, value in labels.items())
            await self._until_done("DELETE", f"/v1/freeze{label}", None)
            await anyio.sleep(self._chance.uniform(0, 1.0))

    async def _until_done(self, method: str, path: str, body: object) -> None:
        while (answer := await self._request(method, path, body)) is None:
            pass
        assert answer.status_code == 200, answer.text

    async def answer(self, thread_id: str) -> None:
        """Answer what agents of a thread ask, one way or the other; it may have been answered in an earlier life."""
        asked = await self._request("GET", "/v1/approvals", None)
        for approval in asked.json() if asked is not None else ():
            if approval["root_thread_id"] == thread_id:  # of a child too
                # Who is not let go on at a threshold fails, and there is no promise to compare.
                decision = {"allowed": bool(approval["account"]) or self._chance.random() < 0.7}
                answer = await self._request("POST", f"/v1/approvals/{approval['id']}", decision)
                assert answer is None or answer.status_code in (200, 404), answer.text

    def wrong(self, audit: Audit, tokens: int, timed: set[str]) -> list[str]:
        """Return what is not right: a freeze that was lost, a grant that was lost or applied twice.

        Args:
            audit: The journal's books.
            tokens: What a thread has before anything is granted.
            timed: The threads whose grants are for a while.
        """
        decided = [event for event in audit.events if isinstance(event, ApprovalDecided)]
        times = Counter(event.approval_id for event in decided)
        wrong = [f"{approval} was decided {count} times" for approval, count in times.items() if count > 1]
        granted = Counter(event.thread_id for event in decided if event.allowed and event.what == MORE_BUDGET)
        changes: dict[str, list[LimitChanged]] = {thread_id: [] for thread_id in granted}
        for event in audit.events:
            if isinstance(event, LimitChanged) and (thread_id := event.account.removeprefix("thread:")) in granted:
                changes[thread_id].append(event)
        for thread_id, count in granted.items():
            after = [change.after.tokens for change in changes[thread_id]]
            if thread_id in timed:
                wrong.extend(_wrong_windows(thread_id, changes[thread_id], count))
            elif after != [tokens + GRANTED * number for number in range(1, count + 1)]:
                wrong.append(f"{thread_id} was granted {count} times {GRANTED} tokens, and its limit became {after}")
        frozen = sum(isinstance(event, SpendingFrozen) for event in audit.events)
        if frozen < self.freezes:
            wrong.append(f"{self.freezes} freezes were acknowledged, and {frozen} are in the journal")
        return self._wrong + wrong


def _wrong_windows(thread_id: str, changes: list[LimitChanged], grants: int) -> list[str]:
    """Each grant for a while raises the limit once; what was not spent, which is all of it, goes back at most once."""
    moved = Counter((change.after.tokens or 0) - (change.before.tokens or 0) for change in changes)
    if moved[GRANTED] != grants or moved[-GRANTED] > grants or not moved.keys() <= {GRANTED, -GRANTED}:
        return [f"{thread_id} was granted {grants} times {GRANTED} tokens for a while, and its limit moved by {moved}"]
    return []
