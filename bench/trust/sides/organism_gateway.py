"""organism: its daemon, called through the gateway; jobs are messages to one of its agents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from bench.gateway import daemon
from bench.litellm import KEY
from bench.trust.sides.chat import answered, asked
from bench.trust.sides.program import AT_ONCE, MODEL, Job, Message, RefusedError, main


def _config(job: Job) -> dict[str, Any]:
    limit = {"usd": round(job["limit"] * job["usd_per_token"], 6)}
    price = job["usd_per_token"] * 1e6
    provider: dict[str, Any] = {"type": "openai", "base_url": f"{job['url']}/v1", "api_key": "${env:BENCH_KEY}"}
    if job["scene"] == "work":
        provider["concurrency"] = AT_ONCE  # as many jobs under way, when they are killed, as others have
    return {
        "name": "trust",
        "entry": "worker",
        "llm": {
            "providers": {"stub": provider},
            "models": {MODEL: f"stub/{MODEL}"},
        },
        "prices": {f"stub/{MODEL}": {"input": price, "output": price}},
        "limits": {"thread": limit},
        "agents": {"worker": {"model": MODEL, "max_output_tokens": job["output_cap"]}},
        "gateway": {"limits": limit, "keys": {"trust": {"key": "${env:BENCH_KEY}"}}},
    }


class OrganismGateway:
    """A client of the gateway and of the daemon's API."""

    def __init__(self, job: Job, client: httpx2.AsyncClient, url: str, token: str) -> None:
        self.notes: list[str] = []
        self._job = job
        self._client = client
        self._url = url
        self._own = {"authorization": f"Bearer {token}"}
        self._warned = False

    async def call(self, messages: list[Message], *, stream: bool) -> str:
        """Ask the gateway, which answers 402 where the budget refuses."""
        body = asked(messages, stream=stream, cap=self._job["output_cap"])
        try:
            text, _, headers = await answered(self._client, f"{self._url}/chat/completions", body)
        except httpx2.HTTPStatusError as error:
            if error.response.status_code == 402 or '"budget_held"' in error.response.text:
                raise RefusedError from error
            raise
        self._warned = self._warned or "organism-warning" in headers
        return text

    async def spent(self) -> float:
        """Return what all calls have cost, by the usage that the daemon shows, once none is under way any more."""
        while True:
            account = await self._client.get(f"{self._url}/budgets/key-trust", headers=self._own)
            if account.status_code == 404 or not account.json()["held"]["calls"]:
                break
            await asyncio.sleep(0.05)
        response = await self._client.get(f"{self._url}/usage", headers=self._own)
        return float(response.json()["total"]["cost_nanousd"]) / 1e9 / float(self._job["usd_per_token"])

    async def warned(self) -> bool:
        """Whether an answer had a header with a threshold."""
        return self._warned

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Open a thread for each job, with a key by which one that is known is not opened again; wait for all."""
        for number, text in jobs.items():
            body = {"text": text, "to": "worker", "thread_id": f"job-{number}"}
            headers = self._own | {"idempotency-key": f"job-{number}"}
            (await self._client.post(f"{self._url}/threads", json=body, headers=headers)).raise_for_status()
        return {number: await self._end_of(number) for number in jobs}

    async def _end_of(self, number: int) -> str:
        while True:
            response = await self._client.get(f"{self._url}/threads/job-{number}", headers=self._own)
            state = response.json()["thread"]["state"]
            if state != "open":
                return "answered" if state == "completed" else "failed"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def made(job: Job) -> AsyncIterator[OrganismGateway]:
    """Start a daemon, on the journal of the one before it if there was one."""
    folder = Path(job["home"])
    with daemon(folder, _config(job)) as proxy:
        token = (folder / ".organism" / "token").read_text(encoding="ascii").strip()
        async with httpx2.AsyncClient(timeout=60, headers={"authorization": f"Bearer {KEY}"}) as client:
            yield OrganismGateway(job, client, proxy.url, token)


if __name__ == "__main__":
    main(made)
