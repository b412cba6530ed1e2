"""A counter that is looked at before a call and added to after it, as agents' frameworks began with."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from bench.trust.sides.chat import answered, asked
from bench.trust.sides.program import Job, Message, RefusedError, main, work_alone


class CheckThenCharge:
    """What has been spent is a number in memory."""

    def __init__(self, job: Job, client: httpx2.AsyncClient) -> None:
        self.notes = ["gives no warnings, and keeps nothing"]
        self._job = job
        self._client = client
        self._spent = 0.0

    async def call(self, messages: list[Message], *, stream: bool) -> str:
        """Refuse it if all is spent; else make it and add what its usage says."""
        if self._spent >= self._job["limit"]:
            raise RefusedError
        body = asked(messages, stream=stream, cap=self._job["output_cap"])
        text, usage, _ = await answered(self._client, f"{self._job['url']}/v1/chat/completions", body)
        self._spent += (usage or {}).get("total_tokens") or 0
        return text

    async def spent(self) -> float:
        """Return the number."""
        return self._spent if math.isfinite(self._spent) else 0.0

    async def warned(self) -> bool:
        """Never."""
        return False

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Do all of them."""
        return await work_alone(self, jobs)


@asynccontextmanager
async def made(job: Job) -> AsyncIterator[CheckThenCharge]:
    """Make one."""
    async with httpx2.AsyncClient(timeout=30) as client:
        yield CheckThenCharge(job, client)


if __name__ == "__main__":
    main(made)
