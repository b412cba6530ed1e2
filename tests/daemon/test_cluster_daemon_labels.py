"""Daemons with labels: threads of agents that need one are at those, and where none lives all others say so at once."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import httpx2
import pytest

from organism.cluster.routing import request_router
from organism.daemon import Daemon
from organism.testing.postgres_server import PostgresServer
from tests.waiting import until

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

CONFIG = """\
name: house
entry: asks
python_path: ["."]
cluster:
  url: "${env:DATABASE_URL}"
  partitions: 2
  node: "${env:NODE}"
  labels: "${env:NODE_LABELS:-}"
  label_partitions: {gpu: 2}
llm:
  providers: {local: {type: scripted, answers: ["hi there"]}}
  models: {main: local/m}
agents:
  asks: {handler: "labelled:asks"}
  paints: {handler: "labelled:asks", node_label: gpu}
"""
HANDLER = '''\
"""An agent that waits for a person."""
from organism import Context, Text

async def asks(message: Text, ctx: Context) -> Text:
    return Text(str((await ctx.approval(message.text)).allowed))
'''
PAINT = {"text": "go on?", "to": "paints"}


class Cluster:
    """The files of daemons on one database, and clients of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url

    def file(self, name: str) -> Path:
        (folder := self._folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / "labelled.py").write_text(HANDLER)
        (file := folder / "organism.yaml").write_text(CONFIG)
        file.chmod(0o600)
        return file

    def environment(self, name: str, labels: str) -> dict[str, str]:
        return {"DATABASE_URL": self._url, "NODE": name, "NODE_LABELS": labels}

    @asynccontextmanager
    async def daemon(self, name: str, labels: str = "") -> AsyncIterator[tuple[Daemon, httpx2.AsyncClient]]:
        """Run a daemon in this process."""
        async with Daemon(self.file(name), port=0, environment=self.environment(name, labels)) as daemon:
            token = (self._folder / name / ".organism" / "token").read_text().strip()
            headers = {"authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(base_url=daemon.url, headers=headers, timeout=60) as api:
                yield daemon, api

    def process(self, name: str, labels: str) -> "subprocess.Popen[bytes]":
        """Start a daemon in a process of its own."""
        command = [sys.executable, "-m", "organism", "daemon", "--file", str(self.file(name)), "--port", "0"]
        environment = {**os.environ, **self.environment(name, labels)}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def cluster(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Let a node wait for others so long that a test fails where it does: what no node can have is not waited for."""
    monkeypatch.setattr(request_router, "GATHER_S", 600.0)
    monkeypatch.setattr(request_router, "OWNER_WAIT_S", 600.0)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "labelled", None)
    del sys.modules["labelled"]
    return Cluster(tmp_path, postgres.database())


def owners(daemon: Daemon) -> dict[int, str | None]:
    return {} if daemon.node is None else {lease.partition: lease.owner for lease in daemon.node.view.leases}


async def test_the_one_node_with_a_label_is_killed_and_another_joins_later(cluster: Cluster) -> None:
    """Meanwhile requests for its threads are refused at once with the label that is missing; the others are served."""
    process = cluster.process("b", "gpu")
    try:
        async with cluster.daemon("a") as (a, api):
            await until(lambda: owners(a).get(2) == owners(a).get(3) == "b")
            opened = await api.post("/v1/threads", json=PAINT, headers={"idempotency-key": "k"})
            assert (opened.status_code, opened.headers["organism-node"]) == (202, "b"), opened.text
            thread = opened.json()["thread_id"]
            again = await api.post("/v1/threads", json=PAINT, headers={"idempotency-key": "k"})
            assert again.json()["thread_id"] == thread

            process.send_signal(signal.SIGKILL)
            await anyio.to_thread.run_sync(process.wait)
            await until(lambda: a.node is not None and a.node.view.missing_labels == {"gpu"})

            for refused in (await api.get(f"/v1/threads/{thread}"), await api.post("/v1/threads", json=PAINT)):
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["code"] == "partition_unavailable"
                assert "has the label 'gpu': start one that has gpu in its cluster.labels" in refused.text
            found = await api.get("/v1/threads")
            assert found.status_code == 200
            away = ["partition 2 (no node labelled gpu)", "partition 3 (no node labelled gpu)"]
            assert found.json()["unanswered"] == away
            frozen = await api.post("/v1/freeze", json={"reason": "x"})
            assert frozen.status_code == 503
            assert away[0] in frozen.text
            assert (await api.post("/v1/threads", json={"text": "go on?"})).status_code == 202

            async with cluster.daemon("c", "gpu, big") as (c, _):
                await until(lambda: owners(c).get(2) == owners(c).get(3) == "c")
                await until(lambda: owners(a).get(2) == owners(a).get(3) == "c")
                shown = await api.get(f"/v1/threads/{thread}")
                assert (shown.status_code, shown.headers["organism-node"]) == (200, "c")
                assert (await api.delete(f"/v1/threads/{thread}")).status_code == 200
    finally:
        process.kill()
        await anyio.to_thread.run_sync(process.wait)


async def test_a_name_that_leads_to_other_nodes_is_refused(cluster: Cluster) -> None:
    """What is said is how to name it; a name that begins with the label is taken, by any node."""
    async with cluster.daemon("a") as (a, api), cluster.daemon("b", "gpu"):
        await until(lambda: owners(a).get(2) == owners(a).get(3) == "b" and owners(a).get(0) is not None)
        refused = await api.post("/v1/threads", json={**PAINT, "thread_id": "sun"})
        assert (refused.status_code, "begins with 'gpu--'" in refused.text) == (400, True), refused.text
        opened = await api.post("/v1/threads", json={**PAINT, "thread_id": "gpu--sun"})
        assert (opened.status_code, opened.headers["organism-node"]) == (202, "b")
        assert (await api.get("/v1/threads/gpu--sun")).status_code == 200
        told = await api.get("/v1/events/page", params={"after": "0", "type": "ThreadOpened"})
        assert [event["data"]["thread_id"] for event in told.json()["events"]] == ["gpu--sun"]
        assert told.json()["next"].startswith("c-")
