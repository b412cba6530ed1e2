"""agent-tokenops: one run with the budget, the worst-case and the cost-guard policies of its own configuration."""

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.trust.sides.program import MODEL, Job, Message, RefusedError, main, work_alone


def _governance(job: Job) -> dict[str, Any]:
    limit = round(job["limit"] * job["usd_per_token"] * 1e6)
    return {
        "governance": {
            "budgets": [{"id": "cap", "limit_micros": limit, "dimension": "trace"}],
            "policies": {
                "cost_budget": {"budget": "cap"},
                "pre_call_worst_case": {"budget": "cap", "default_max_output": job["output_cap"]},
                "cost_guard": {"budget": "cap", "threshold": 0.8, "mode": "minimize"},
            },
        }
    }


class TokenOps:
    """A run that is governed in this process; its control plane, which can be had beside it, would keep spend."""

    def __init__(self, job: Job, bound: Any, governed: Any) -> None:
        self.notes = ["its calls cannot be cancelled; in one process it keeps nothing, its control plane does"]
        self._job = job
        self._bound = bound
        self._governed = governed

    async def call(self, messages: list[Message], *, stream: bool) -> str:  # noqa: ARG002 - it has whole calls here
        """Call the governed function in a thread."""
        context = contextvars.copy_context()
        refused, text = await asyncio.to_thread(context.run, self._call, messages)
        if refused:
            raise RefusedError(text)
        return text

    def _call(self, messages: list[Message]) -> tuple[bool, str]:
        from tokenops.framework import Halt

        try:
            return False, str(self._governed("openai", MODEL, messages).content)
        except Halt as halt:
            return True, str(halt)

    async def spent(self) -> float:
        """Return what the run's ledger says."""
        micros = self._bound.governor.ledger.cost_micros(self._bound.attr.trace_id)
        return float(micros) / 1e6 / float(self._job["usd_per_token"])

    async def warned(self) -> bool:
        """Whether a policy has steered the run."""
        return any(action.policy_id == "cost_guard" for action in self._bound.controls.event_log)

    async def work(self, jobs: dict[int, str]) -> dict[int, str]:
        """Do all of them."""
        return await work_alone(self, jobs)


@asynccontextmanager
async def made(job: Job) -> AsyncIterator[TokenOps]:
    """Open a run, as the project's documentation shows it."""
    os.environ |= {"OPENAI_BASE_URL": f"{job['url']}/v1", "OPENAI_API_KEY": "k"}
    from tokenops import tokenops_run
    from tokenops.capabilities import wrap_complete
    from tokenops.framework.pricing import Rate, build_price_book
    from tokenops.providers import complete

    rate = round(job["usd_per_token"] * 1e12)
    price = build_price_book({MODEL: Rate(input=rate, output=rate)})
    with tokenops_run(
        config=_governance(job), service="trust", intent="trust", provider="openai", model=MODEL, price=price
    ) as bound:
        governed = wrap_complete(
            bound.governor,
            bound.controls,
            bound.attr,
            provider="openai",
            model=MODEL,
            dispatch=complete,
            service="trust",
        )
        yield TokenOps(job, bound, governed)


if __name__ == "__main__":
    main(made)
