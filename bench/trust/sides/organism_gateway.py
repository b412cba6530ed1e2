"""organism: its daemon, called through the gateway; jobs are messages to one of its agents."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from bench.gateway import daemon
from bench.litellm import KEY
from bench.trust.sides.chat import asked, answered
from bench.trust.sides.program import MODEL, Job, Message, RefusedError, main

JOBS = "jobs"


def _config(job: Job) -> dict[str, Any]:
    limit = {"usd": round(job["limit"] * job["usd_per_token"], 6)}
    price = job["usd_per_token"] * 1e6
    return {
        "name": "trust",
        "entry": "worker",
        "llm": {
            "providers": {"stub": {"type": "openai", "base_url": f"{job['url']}/v1", "api_key": "${env:BENCH_KEY}"}},
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
        """Return what the threads have spent."""
        found = 0.0
        for thread in ("key-trust", JOBS):
            response = await self._client.get(f"{self._url}/budgets/{thread}", headers=self._own)
            if response.status_code != 404:
                found += response.json()["spent"]["cost_nanousd"] / 1e9 / self._job["usd_per_token"]
        return found

    async def warned(self) -> bool:
        """Whether an answer had a header with a threshold."""
        return self._warned

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Send each job as a message, with a key by which one that is known is not taken again; wait for all."""
        for number, text in jobs.items():
            await self._give(number, text)
        while True:
            response = await self._client.get(f"{self._url}/threads/{JOBS}", headers=self._own)
            thread = response.json()
            
            if thread["status"] != "open" or not any(thread["messages"].values()):
                break
            await asyncio.sleep(0.1)
        response = await self._client.get(f"{self._url}/dead-letters", headers=self._own)
        failed = len(response.json()["letters"])
        return {number: "failed" if place < failed else "answered" for place, number in enumerate(jobs)}

    async def _give(self, number: int, text: str) -> None:
        body = {"text": text, "to": "worker"}
        headers = self._own | {"idempotency-key": f"job-{number}"}
        path = f"{self._url}/threads/{JOBS}/messages" if number else f"{self._url}/threads"
        response = await self._client.post(path, json=body | ({} if number else {"thread_id": JOBS}), headers=headers)
        if response.status_code >= 400:
            raise RuntimeError(response.text)


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
