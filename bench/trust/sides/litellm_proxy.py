"""LiteLLM's proxy: a key with a budget, which its own auth hook gives, for there is no database here.

The proxy reserves a call's greatest cost before it and settles afterwards, in memory or, with several of them, in
Redis; keys of its own making, and spend that outlives it, need PostgreSQL and an engine that pip does not bring.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from bench.litellm import KEY, configured
from bench.trust.sides.chat import answered, asked
from bench.trust.sides.program import MODEL, Job, Message, RefusedError, main, work_alone

_AUTH = '''
"""Knows one key, with a budget, and writes what it has spent beside this file."""
import hashlib
from pathlib import Path
from litellm.proxy._types import UserAPIKeyAuth

TOKEN = hashlib.sha256(b"trust").hexdigest()

async def known(request, api_key):
    from litellm.proxy.proxy_server import get_current_spend
    spend = await get_current_spend(counter_key="spend:key:" + TOKEN, fallback_spend=0.0)
    (Path(__file__).parent / "spend").write_text(str(spend))
    return UserAPIKeyAuth(
        api_key=TOKEN, token=TOKEN, key_alias="trust", user_id="trust", spend=spend, max_budget={budget}
    )
'''


def _config(job: Job) -> dict[str, Any]:
    price = {"input_cost_per_token": job["usd_per_token"], "output_cost_per_token": job["usd_per_token"]}
    route = {"model": f"openai/{MODEL}", "api_base": f"{job['url']}/v1", "api_key": "k", **price}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": route}],
        "general_settings": {
            "custom_auth": "auth.known",
            "custom_auth_run_common_checks": True,
        },
    }


class LiteLLMProxy:
    """A client of the proxy."""

    def __init__(self, job: Job, client: httpx2.AsyncClient, url: str) -> None:
        self.notes = ["its database is not there, which keeps spend and whose keys it warns about"]
        self._job = job
        self._client = client
        self._url = url

    async def call(self, messages: list[Message], *, stream: bool) -> str:
        """Ask the proxy, which refuses with the type ``budget_exceeded``."""
        body = asked(messages, stream=stream, cap=self._job["output_cap"])
        try:
            text, _, _ = await answered(self._client, f"{self._url}/chat/completions", body)
        except httpx2.HTTPStatusError as error:
            if "budget" in error.response.text.lower():
                raise RefusedError from error
            raise
        return text

    async def spent(self) -> float:
        """Have the auth hook write what the proxy knows, and read it."""
        await asyncio.sleep(1)  # it counts after it has answered
        await self._client.get(f"{self._url}/models")
        spend = (Path(self._job["home"]) / "spend").read_text(encoding="utf-8")
        return float(spend) / float(self._job["usd_per_token"])

    async def warned(self) -> bool:
        """Never: its alerts are about keys of its database."""
        return False

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Do all of them."""
        return await work_alone(self, jobs)


@asynccontextmanager
async def made(job: Job) -> AsyncIterator[LiteLLMProxy]:
    """Start the proxy."""
    folder = Path(job["home"])
    budget = job["limit"] * job["usd_per_token"]
    (folder / "auth.py").write_text(_AUTH.replace("{budget}", f"{budget}"))
    with configured(folder, _config(job)) as proxy:
        async with httpx2.AsyncClient(timeout=60, headers={"authorization": f"Bearer {KEY}"}) as client:
            yield LiteLLMProxy(job, client, proxy.url)


if __name__ == "__main__":
    main(made)
