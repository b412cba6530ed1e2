"""Processes of a cluster that open threads as fast as they end, and note what they were promised and billed.

``python -m tests.killing.node_process URL FOLDER TTL`` reads names of nodes, one a line, and answers each with the
number of the process that it has forked for it: Python's own start would take longer than such a process lives.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import anyio

from organism import Context, Limits, Organism, OrganismError, Text, agent
from organism.amounts import TokenUsage
from organism.budget.scopes import BudgetPlan, LabelLimits, ScopedLimits
from organism.cluster.lease_times import LeaseTimes
from organism.cluster.node import ClusterNode
from organism.errors import BudgetExhaustedError
from organism.providers.scripted import ScriptedAnswer
from organism.router.call import RouterSettings
from organism.router.limits.provider_settings import ProviderSettings
from organism.router.limits.rate_limit import RateLimits
from organism.testing import ScriptedProvider

PARTITIONS = 6
SHARED = "label:tier=tight@lifetime"
SHARED_CALLS = 400
CALLS_AT_A_TIME, CALLS_PER_MINUTE = 6, 1_200
"""What the provider takes of all nodes together; those that die keep their part of it for a minute."""
NOTES: list[int] = []
"""The file of this process's refusals."""
USAGE = TokenUsage(input=7, output=3)


async def pay(ctx: Context) -> str:
    """Make a call, and note when it was refused because all calls of its tier are used up."""
    try:
        return (await ctx.llm.complete("write", max_output_tokens=16)).text
    except BudgetExhaustedError:
        os.write(NOTES[0], b"%d\n" % time.time_ns())
        return "refused"


@agent(next="second")
async def first(message: Text, ctx: Context) -> Text:
    """Pay once, then hand on."""
    await pay(ctx)
    return Text(message.text)


@agent()
async def second(message: Text, ctx: Context) -> Text:
    """Pay once more."""
    return Text(await pay(ctx))


def cluster_node(url: str, name: str, folder: Path, ttl_s: float) -> ClusterNode:
    """Return the node; every request that reaches its provider stands on the bill at once."""
    bill = os.open(folder / "bill", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    NOTES[:] = [os.open(folder / "refused", os.O_WRONLY | os.O_CREAT | os.O_APPEND)]

    asked = os.open(folder / "asked", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answer(_request: object) -> ScriptedAnswer:
        os.write(bill, b"%d\n" % USAGE.total)
        os.write(asked, b"%d\n" % time.time_ns())
        return ScriptedAnswer(text="done", usage=USAGE)

    organism = Organism(
        [first, second],
        name="house",
        models={"main": "scripted/m"},
        providers={"scripted": ScriptedProvider(answer, latency_s=0.02)},
        provider_kinds={"scripted": "local"},
        router=RouterSettings(
            providers={
                "scripted": ProviderSettings(concurrency=CALLS_AT_A_TIME, rates=RateLimits(requests=CALLS_PER_MINUTE))
            }
        ),
        limits=BudgetPlan(
            windows={"lifetime": Limits(calls=10_000_000, tokens=10_000_000_000)},
            labels={"tier": LabelLimits(each=ScopedLimits(Limits(calls=SHARED_CALLS), "lifetime"))},
        ),
        on_exhausted="fail",
    )
    times = LeaseTimes(ttl_s=ttl_s, renew_s=ttl_s / 4, margin_s=ttl_s / 4, drain_s=1.0, again_s=0.2)
    return ClusterNode(organism, url, node=name, partitions=PARTITIONS, times=times)


async def work(node: ClusterNode, promises: int) -> None:
    """Open a thread, note its id once it was promised, wait for its end, and again."""
    while True:
        try:
            organism = random.choice([*node.organisms.values()] or [None])
            if organism is None:
                await anyio.sleep(0.05)
                continue
            thread = await organism.open_thread("write", labels=random.choice(({}, {}, {"tier": "tight"})))
            os.write(promises, f"{thread}\n".encode())
            with anyio.move_on_after(2):
                await node.wait(thread)
        except OrganismError:
            await anyio.sleep(0.05)


async def main(url: str, name: str, folder: Path, ttl_s: float) -> None:
    """Run until somebody ends it."""
    promises = os.open(folder / "promises", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with cluster_node(url, name, folder, ttl_s) as node, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(work, node, promises)


def fork(url: str, name: str, folder: Path, ttl_s: float) -> int:
    """Begin a node, and return the number of its process."""
    if (pid := os.fork()) == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the parent's output is for the numbers alone
            anyio.run(main, url, name, folder, ttl_s)
        except OrganismError as error:
            print(error, file=sys.stderr, flush=True)  # noqa: T201 - to the log of the test
        finally:
            os._exit(1)
    return pid


if __name__ == "__main__":
    import organism.stores.postgres.lease_table
    import organism.stores.postgres.postgres_journal  # noqa: F401 - so that no fork has to

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has ended is gone at once
    for line in sys.stdin:
        print(fork(sys.argv[1], line.strip(), Path(sys.argv[2]), float(sys.argv[3])), flush=True)  # noqa: T201
