"""Daemons of a cluster are one organism: any of them answers any request, and what it cannot it says."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from organism.api.tokens.token_book import TokenBook
from organism.cli.app import call
from organism.cluster.node import ClusterNode
from organism.cluster.routing import request_router
from organism.cluster.routing.event_reader import written
from organism.daemon import Daemon
from organism.testing.postgres_server import PostgresServer

pytestmark = [pytest.mark.debian, pytest.mark.anyio]

CONFIG = """\
name: house
entry: asks
python_path: ["."]
cluster: {url: "${env:DATABASE_URL}", partitions: 4, node: "${env:NODE}"}
gateway: {tokens: true}
llm:
  providers: {local: {type: scripted, answers: ["hi there"]}}
  models: {main: local/m}
agents:
  asks: {handler: "clustered:asks"}
"""
HANDLER = '''\
"""An agent that waits for a person."""
from organism import Context, Text

async def asks(message: Text, ctx: Context) -> Text:
    return Text(str((await ctx.approval(message.text)).allowed))
'''
CALL = {"model": "main", "messages": [{"role": "user", "content": "x"}]}


class Cluster:
    """Daemons on one database, and a client of each."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self.daemons: dict[str, Daemon] = {}
        self.apis: dict[str, httpx2.AsyncClient] = {}

    def file(self, name: str, config: str = CONFIG) -> Path:
        folder = self._folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "clustered.py").write_text(HANDLER)
        (file := folder / "organism.yaml").write_text(config)
        file.chmod(0o600)
        return file

    def environment(self, name: str) -> dict[str, str]:
        return {"DATABASE_URL": self._url, "NODE": name}

    def daemon(self, name: str) -> Daemon:
        return Daemon(self.file(name), port=0, environment=self.environment(name))

    def know(self, name: str, daemon: Daemon) -> httpx2.AsyncClient:
        self.daemons[name] = daemon
        return self.client(name, daemon.url)

    def client(self, name: str, url: str) -> httpx2.AsyncClient:
        token = (self._folder / name / ".organism" / "token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        self.apis[name] = httpx2.AsyncClient(base_url=url, headers=headers, timeout=60)
        return self.apis[name]

    def owned(self, name: str) -> set[int]:
        node = self.daemons[name].node
        return set() if node is None else set(node.organisms)

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait for something that renewals bring about, and have them come soon."""
        with anyio.fail_after(60):
            while not check():
                for daemon in self.daemons.values():
                    if daemon.node is not None:
                        daemon.node.renew_soon()
                await anyio.sleep(0.02)

    async def spread(self) -> None:
        """Wait until two nodes have two partitions each, and both know."""

        def is_spread() -> bool:
            found = [self.owned(name) for name in self.daemons]
            known = [
                {lease.owner for lease in daemon.node.view.leases} for daemon in self.daemons.values() if daemon.node
            ]
            return all(len(each) == 2 for each in found) and all(owners == self.daemons.keys() for owners in known)

        await self.until(is_spread)

    async def thread_at(self, name: str) -> str:
        """Open a thread in a partition of a node."""
        opened = await self.apis[name].post("/v1/threads", json={"text": "go on?"})
        assert opened.status_code == 202, opened.text
        assert int(opened.json()["thread_id"][3:5], 16) in self.owned(name)
        return str(opened.json()["thread_id"])


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node wait for another as long as a busy machine takes: no test here is about its being too slow."""
    monkeypatch.setattr(request_router, "GATHER_S", 60.0)
    monkeypatch.setattr(request_router, "OWNER_WAIT_S", 60.0)


@pytest.fixture
async def cluster(postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """Two daemons, a and b, with two partitions each."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "clustered", None)
    del sys.modules["clustered"]
    found = Cluster(tmp_path, postgres.database())
    async with found.daemon("a") as a, found.daemon("b") as b, found.know("a", a), found.know("b", b):
        await found.spread()
        yield found


Ask = Callable[[httpx2.AsyncClient, str], Awaitable[httpx2.Response]]

ROUTES: dict[str, tuple[int, Ask]] = {
    "show": (200, lambda api, thread: api.get(f"/v1/threads/{thread}")),
    "timeline": (200, lambda api, thread: api.get(f"/v1/threads/{thread}/timeline")),
    "send": (202, lambda api, thread: api.post(f"/v1/threads/{thread}/messages", json={"text": "x"})),
    "limits": (200, lambda api, thread: api.put(f"/v1/threads/{thread}/limits", json={"tokens": 70_000})),
    "pause": (200, lambda api, thread: api.post(f"/v1/threads/{thread}/pause")),
    "resume": (200, lambda api, thread: api.post(f"/v1/threads/{thread}/resume")),
    "budget": (200, lambda api, thread: api.get(f"/v1/budgets/{thread}")),
    "move": (200, lambda api, thread: api.post(f"/v1/budgets/thread:{thread}/move", json={"tokens": 5})),
    "events": (200, lambda api, thread: api.get("/v1/events/page", params={"thread": thread})),
    "call": (200, lambda api, thread: api.post("/v1/chat/completions", json=CALL, headers={"organism-thread": thread})),
    "end": (200, lambda api, thread: api.delete(f"/v1/threads/{thread}")),
}


async def test_any_node_answers_for_any_thread(cluster: Cluster) -> None:
    """Each route that is about a thread does the same at the node that has it and at the one that has not."""
    for opened_at, asked_at in (("a", "b"), ("b", "a"), ("a", "a")):
        thread = await cluster.thread_at(opened_at)
        for name, (status, ask) in ROUTES.items():
            answer = await ask(cluster.apis[asked_at], thread)
            assert answer.status_code == status, (name, answer.text)
            assert answer.headers.get("organism-node") == (None if opened_at == asked_at else opened_at), name
        gone = await cluster.apis[asked_at].post(f"/v1/threads/{thread}/messages", json={"text": "x"})
        assert (gone.status_code, gone.json()["code"]) == (404, "thread_not_open")


async def test_whole_is_seen_and_steered_from_any_node(cluster: Cluster) -> None:
    """Lists, sums and settings are those of all partitions, and the same wherever they are asked for."""
    threads = [await cluster.thread_at(name) for name in "abab"]
    a, b = cluster.apis["a"], cluster.apis["b"]
    await cluster.until(lambda: len(asked_of(cluster)) == 4)
    for api in (a, b):
        status = (await api.get("/v1/status")).json()
        assert (status["threads"]["open"] + status["threads"]["blocked"], status["unanswered"]) == (4, [])
        listed = (await api.get("/v1/threads")).json()
        assert ({each["thread_id"] for each in listed["threads"]}, listed["total"]) == (set(threads), 4)
        assert {each["account"] for each in (await api.get("/v1/budgets")).json()} == {
            f"thread:{each}" for each in threads
        }
        assert len({each["thread_id"] for each in (await api.get("/v1/approvals")).json()}) == 4
        paged: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await api.get("/v1/threads", params={"limit": 1, "order": "asc", **cursor})).json()
            paged += [each["thread_id"] for each in page["threads"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert paged == threads
        for thread in threads[:2]:
            assert (await api.get(f"/v1/threads/{thread}")).status_code == 200
        page = (await api.get("/metrics", headers={"accept": "application/openmetrics-text"})).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        assert {sample.labels.get("partition") for sample in samples} == {None, *"0123"}
        of_nodes = {
            sample.labels["node"]: sample.value for sample in samples if sample.name == "organism_cluster_partitions"
        }
        assert of_nodes == {"a": 2, "b": 2}
        moves = [sample.labels for sample in samples if sample.name == "organism_cluster_partition_moves_total"]
        assert sorted(each["partition"] for each in moves if each["change"] == "taken") == [*"0123"]
        passed_on = [sample.value for sample in samples if sample.labels.get("result") == "answered"]
        assert sum(passed_on) == 1 + "ab".index("a" if api is a else "b")
    frozen = await a.post("/v1/freeze", json={"reason": "stop"})
    assert (frozen.status_code, len((await b.get("/v1/freeze")).json()["freezes"])) == (200, 1)
    assert [len(each.control.frozen().freezes) for name in "ab" for each in running(cluster, name)] == [1] * 4
    assert (await b.delete("/v1/freeze")).json()["freezes"] == []
    for api, asked in zip((b, a) * 2, (await a.get("/v1/approvals")).json(), strict=True):
        path, yes = f"/v1/approvals/{asked['id']}", {"allowed": True}
        done = await api.post(path, json=yes)
        # Its reply is lost: at the next node it is told as at first; a no comes too late, and is told so.
        again, late = await (a if api is b else b).post(path, json=yes), await a.post(path, json={"allowed": False})
        assert (done.status_code, again.status_code, again.json()) == (200, 200, done.json())
        assert (late.status_code, late.json()["code"]) == (409, "approval_answered")
    assert (await a.post("/v1/approvals/none", json={"allowed": True})).json()["code"] == "unknown_approval"
    assert (await a.post("/v1/agents/asks/pause")).status_code == 200
    assert (await b.get("/v1/agents")).json()[0]["state"] == "paused"
    assert (await b.post("/v1/reload")).json() == {"changes": []}


async def test_each_node_reloads_its_own_file(cluster: Cluster) -> None:
    """Models, gateway and agents are those of the file in all its partitions at once, and of no other node."""
    a, b = cluster.apis["a"], cluster.apis["b"]
    threads = {name: await cluster.thread_at(name) for name in "ab"}
    cluster.file("a", CONFIG.replace("hi there", "hello").replace("tokens: true", "tokens: true, max_output_tokens: 7"))
    changes = (await a.post("/v1/reload")).json()["changes"]
    assert sorted(changes) == ["gateway changed", "llm.providers: local changed"]

    async def said(api: httpx2.AsyncClient, thread: str) -> str:
        answer = await api.post("/v1/chat/completions", json=CALL, headers={"organism-thread": thread})
        return str(answer.json()["choices"][0]["message"]["content"])

    for api in (a, b):  # what answers is where the thread is
        assert [await said(api, threads[name]) for name in "ab"] == ["hello", "hi there"]
    page = (await b.get("/v1/events/page", params={"type": "OperatorAction"})).json()["events"]
    reloaded = [each["source"] for each in page if each["data"]["action"] == "reload"]
    assert len(set(reloaded)) == len(reloaded) == 2
    node = cluster.daemons["b"].node
    assert node is not None
    view = await anyio.to_thread.run_sync(node.table.look)
    assert {each.name: view.differs(each) for each in view.nodes} == {"a": False, "b": True}
    cluster.file("b", CONFIG.replace("hi there", "hello").replace("tokens: true", "tokens: true, max_output_tokens: 7"))
    assert len((await b.post("/v1/reload")).json()["changes"]) == 2
    view = await anyio.to_thread.run_sync(node.table.look)
    assert [view.differs(each) for each in view.nodes] == [False, False]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("partitions: 4", "partitions: 8", "cluster.partitions"),
        ("partitions: 4", "partitions: 4, labels: [gpu], label_partitions: {gpu: 2}", "cluster.labels, cluster.label_"),
        ('"${env:NODE}"', "c", "cluster.node"),
        ("${env:DATABASE_URL}", "postgresql://h/d", "cluster.url"),
        ("cluster:", "store: postgres\ncluster:", "store"),
        ('{handler: "clustered:asks"}', '{handler: "clustered:asks", node_label: gpu}', "no partitions yet: gpu"),
    ],
)
async def test_what_only_a_restart_changes_is_refused_by_name(cluster: Cluster, old: str, new: str, named: str) -> None:
    """Nothing of the file is applied then, at no partition."""
    assert old in CONFIG
    cluster.file("a", CONFIG.replace("hi there", "hello").replace(old, new))
    refused = await cluster.apis["a"].post("/v1/reload")
    assert (refused.status_code, named in refused.text, "restart" in refused.text) == (400, True, True), refused.text
    thread = await cluster.thread_at("a")
    answer = await cluster.apis["a"].post("/v1/chat/completions", json=CALL, headers={"organism-thread": thread})
    assert answer.json()["choices"][0]["message"]["content"] == "hi there"


def running(cluster: Cluster, name: str) -> list[Any]:
    node = cluster.daemons[name].node
    return [] if node is None else list(node.organisms.values())


def asked_of(cluster: Cluster) -> list[str]:
    """Return the questions that wait for a person, of all partitions."""
    organisms = [each for name in cluster.daemons for each in running(cluster, name)]
    return [approval.id for each in organisms for approval in each.approvals.waiting()]


async def test_stream_comes_piece_by_piece_from_another_node(cluster: Cluster) -> None:
    """A streamed call is the same from the wrong node, and its bill is where its thread is."""
    thread = await cluster.thread_at("b")
    body = {**CALL, "stream": True}
    texts = []
    for api in cluster.apis.values():
        async with api.stream("POST", "/v1/chat/completions", json=body, headers={"organism-thread": thread}) as stream:
            lines = [line async for line in stream.aiter_lines() if line.startswith("data: {")]
            texts.append("".join(line.partition('"content":"')[2].partition('"')[0] for line in lines))
    assert texts == ["hi there"] * 2
    spent = (await cluster.apis["a"].get(f"/v1/budgets/{thread}")).json()["spent"]
    assert spent["calls"] == 2


async def test_follower_changes_nodes_and_sees_each_event_once(cluster: Cluster) -> None:
    """Pages and streams go on at any node where the last one has stopped: each event once, in order per source."""
    seen: list[tuple[str, str]] = []
    after = written({})
    for turn in range(8):
        await cluster.thread_at("ab"[turn // 2 % 2])
        api = cluster.apis["ab"[turn % 2]]
        if turn % 4 < 2:
            page = (await api.get("/v1/events/page", params={"after": after, "wait_seconds": 5, "limit": 3})).json()
            seen += [(event["source"], event["id"]) for event in page["events"]]
            after = page["next"]
            continue
        async with api.stream("GET", "/v1/events", headers={"last-event-id": after}) as stream:
            taken = 0
            async for line in stream.aiter_lines():
                if line.startswith("id: "):
                    after = line.removeprefix("id: ")
                elif line.startswith("data: "):
                    event = httpx2.Response(200, content=line.removeprefix("data: ")).json()
                    seen.append((event["source"], event["id"]))
                    taken += 1
                    if taken == 2:
                        break
    while (page := (await cluster.apis["a"].get("/v1/events/page", params={"after": after})).json())["events"]:
        seen += [(event["source"], event["id"]) for event in page["events"]]
        after = page["next"]
    for source in {source for source, _ in seen}:
        numbers = [int(number) for each, number in seen if each == source]
        assert numbers == list(range(1, len(numbers) + 1)), source
    assert len({source for source, _ in seen}) >= 2
    assert sum(1 for _ in seen) >= 16


def drain(node: ClusterNode, name: str, draining: bool) -> None:
    node.table.drain(name, draining=draining)


async def test_requests_during_hand_overs_succeed_or_say_when_to_come_again(cluster: Cluster) -> None:
    """Partitions move to and fro under requests at both nodes: each is answered, or refused with Retry-After."""
    threads = [await cluster.thread_at(name) for name in "abab"]
    moving = True
    answers: list[tuple[int, bool]] = []

    async def ask(turn: int) -> None:
        api = cluster.apis["ab"[turn % 2]]
        number = turn
        while moving:
            number += 1
            thread = threads[number % 4]
            if number % 3:
                answer = await api.get(f"/v1/threads/{thread}")
            else:
                key = {"idempotency-key": f"{turn}-{number}"}
                answer = await api.post(f"/v1/threads/{thread}/messages", json={"text": "more"}, headers=key)
            answers.append((answer.status_code, "retry-after" in answer.headers))

    async with anyio.create_task_group() as tasks:
        for turn in range(4):
            tasks.start_soon(ask, turn)
        for _ in range(2):
            for name in "ab":
                node = cluster.daemons[name].node
                assert node is not None
                await anyio.to_thread.run_sync(drain, node, name, True)
                await cluster.until(lambda it=name: not cluster.owned(it))  # type: ignore[misc]
                await anyio.to_thread.run_sync(drain, node, name, False)
                await cluster.spread()
        moving = False
    assert {answer for answer in answers if answer[0] not in (200, 202)} <= {(503, True)}
    assert sum(status == 202 for status, _ in answers) > 4
    for thread in threads:
        assert (await cluster.apis["a"].get(f"/v1/threads/{thread}")).status_code == 200


async def test_request_outlives_the_daemon_that_answers_it(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon is killed while it answers what another has passed on: its successor answers, and nothing is lost."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "clustered", None)
    del sys.modules["clustered"]
    cluster = Cluster(tmp_path, postgres.database())
    command = [sys.executable, "-m", "organism", "daemon", "--file", str(cluster.file("b")), "--port", "0"]
    environment = {**os.environ, **cluster.environment("b")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        async with cluster.daemon("a") as a, cluster.know("a", a) as api:
            await cluster.until(lambda: len(cluster.owned("a")) == 2 and len(owners(a)) == 2)
            named = next(
                name for name in "tuvwxyz" if a.node and a.node.layout.partition_of(name) not in cluster.owned("a")
            )
            opened = await api.post("/v1/threads", json={"text": "go on?", "thread_id": named})
            assert (opened.status_code, opened.headers["organism-node"]) == (202, "b")
            async with anyio.create_task_group() as tasks:
                late: list[httpx2.Response] = []

                async def follow() -> None:
                    query = {"thread": named, "wait_seconds": 60, "type": "ThreadClosed"}
                    late.append(await api.get("/v1/events/page", params=query))

                tasks.start_soon(follow)
                process.send_signal(signal.SIGKILL)
                await anyio.to_thread.run_sync(process.wait)
                async with cluster.daemon("b") as b, cluster.know("b", b):  # it takes at once what the killed one had
                    await cluster.spread()
                    ended = await api.delete(f"/v1/threads/{named}")
                    assert (ended.status_code, ended.headers["organism-node"]) == (200, "b")
                    await cluster.until(lambda: bool(late))
            assert [event["data"]["type"] for event in late[0].json()["events"]] == ["ThreadClosed"]
    finally:
        process.kill()
        await anyio.to_thread.run_sync(process.wait)


def owners(daemon: Daemon) -> set[str | None]:
    return set() if daemon.node is None else {lease.owner for lease in daemon.node.view.leases}


async def test_usage_of_a_period_is_that_of_all_partitions(cluster: Cluster) -> None:
    """Any node gives the same sums and the same report of a period, exact and of everything, or of one thread."""
    for number in range(8):
        api = cluster.apis["ab"[number % 2]]
        called = await api.post("/v1/chat/completions", json=CALL, headers={"organism-thread": f"t{number}"})
        assert called.status_code == 200, called.text
    whole = (await cluster.apis["a"].get("/v1/usage", params={"by": "model"})).json()
    assert whole["total"]["calls"] == 8
    for api in cluster.apis.values():
        last = (await api.get("/v1/usage", params={"by": "model", "since": "1h"})).json()
        assert last["total"]["calls"] == last["groups"]["main"]["calls"] == 8
        assert last["total"]["usage"] == whole["total"]["usage"]
        earlier = (await api.get("/v1/usage", params={"until": "1h"})).json()
        assert earlier["total"]["calls"] == 0
        report = (await api.get("/v1/usage/report", params={"since": "1h"})).json()["report"]
        assert (report["totals"]["calls"], report["threads"]) == (8, 8)
        one = (await api.get("/v1/usage/report", params={"thread": "t3"})).json()["report"]
        assert one["totals"]["calls"] == 1
        page = await api.get("/v1/usage/report", headers={"accept": "text/html"})
        assert page.text.startswith("<!doctype html>")


async def test_token_of_the_api_is_known_at_every_node(cluster: Cluster) -> None:
    """Made, limited and revoked at any node, by whichever, and a key of the gateway everywhere; noted once."""
    a, b = cluster.apis["a"], cluster.apis["b"]
    body = {"name": "ci", "scopes": ["send"], "limits": {"calls": 1}}
    made = await a.post("/v1/tokens", json=body)
    assert made.status_code == 201, made.text
    assert (await b.post("/v1/tokens", json=body)).json()["detail"].startswith("there is a token 'ci' already")
    theirs = {"authorization": f"Bearer {made.json()['secret']}"}
    called: list[int] = []
    await until_true(lambda: calls(cluster, theirs, called))
    assert called[-2:] == [200, 402]  # its thread may make one call, wherever it is asked for
    listed = {each["name"]: each["limits"] for each in (await b.get("/v1/tokens")).json()}
    assert listed == {"owner": None, "ci": (await a.get("/v1/tokens")).json()[1]["limits"]}
    assert (await b.patch("/v1/tokens/ci", json={"limits": {"calls": 7}})).json()["limits"]["calls"] == 7
    assert {each["name"]: each["limits"] for each in (await a.get("/v1/tokens")).json()}["ci"]["calls"] == 7
    assert (await b.delete("/v1/tokens/ci")).status_code == 200
    assert (await b.get("/v1/models", headers=theirs)).status_code == 401
    await until_true(lambda: refuses(a, theirs))
    assert (await a.delete("/v1/tokens/ci")).json()["code"] == "unknown_token"
    page = (await a.get("/v1/events/page", params={"type": "OperatorAction"})).json()["events"]
    assert [each["data"]["action"] for each in sorted(page, key=lambda each: each["time"])] == [
        "token.make",
        "token.limit",
        "token.revoke",
    ]
    assert made.json()["secret"] not in str(page)


async def calls(cluster: Cluster, headers: dict[str, str], found: list[int]) -> bool:
    """Call a model at each node; whether both know who calls."""
    answers = [await api.post("/v1/chat/completions", json=CALL, headers=headers) for api in cluster.apis.values()]
    found += [answer.status_code for answer in answers]
    return 401 not in found[-2:]


async def refuses(api: httpx2.AsyncClient, headers: dict[str, str]) -> bool:
    return (await api.get("/v1/models", headers=headers)).status_code == 401


async def until_true(ask: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(60):
        while not await ask():  # noqa: ASYNC110 - it comes with a look at the database
            await anyio.sleep(0.5)


async def test_token_that_two_state_folders_hold_is_revoked_at_both(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a folder has from the time before the cluster is the cluster's, and revoked it is none at any node."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    cluster = Cluster(tmp_path, postgres.database())
    folders = [cluster.file(name).parent / ".organism" for name in "ab"]
    secret = (await TokenBook.open(folders[0], lambda: 0).make("ci", ["read"])).secret
    TokenBook.open(folders[1], lambda: 0)
    (folders[1] / "tokens.json").write_bytes((folders[0] / "tokens.json").read_bytes())
    (folders[1] / "tokens.json").chmod(0o600)
    theirs = {"authorization": f"Bearer {secret}"}
    async with cluster.daemon("a") as a, cluster.daemon("b") as b, cluster.know("a", a), cluster.know("b", b):
        for api in cluster.apis.values():
            assert (await api.get("/v1/status", headers=theirs)).status_code == 200
        assert (await cluster.apis["a"].delete("/v1/tokens/ci")).status_code == 200
        for api in cluster.apis.values():
            await until_true(lambda api=api: refuses(api, theirs))  # type: ignore[misc]
    async with cluster.daemon("b") as b, cluster.know("b", b) as api:
        assert await refuses(api, theirs)


async def test_node_that_lost_the_database_says_when_to_come_again(cluster: Cluster, postgres: PostgresServer) -> None:
    """A token of the database is neither good nor bad then: 503 in each API's words; the first token is let in."""
    a, b = cluster.apis["a"], cluster.apis["b"]
    made = await a.post("/v1/tokens", json={"name": "ci", "scopes": ["read", "send"]})
    theirs = {"authorization": f"Bearer {made.json()['secret']}"}
    await until_true(lambda: lets_in(b, theirs))
    postgres.stop()
    try:
        await until_true(lambda: says_away(b, theirs))
        asked = await b.get("/v1/status", headers=theirs)
        assert (asked.status_code, asked.json()["code"], asked.headers["retry-after"]) == (
            503,
            "tokens_unavailable",
            "3",
        )
        called = await b.post("/v1/chat/completions", json=CALL, headers=theirs)
        assert (called.status_code, called.json()["error"]["code"]) == (503, "tokens_unavailable")
        assert called.headers["retry-after"] == "3"
        owner = await b.get("/v1/tokens")
        assert (owner.status_code, owner.json()["code"]) == (503, "journal_unavailable")
    finally:
        postgres.start()
    await until_true(lambda: lets_in(b, theirs))


async def says_away(api: httpx2.AsyncClient, headers: dict[str, str]) -> bool:
    return (await api.get("/v1/schema/openapi.json", headers=headers)).status_code == 503


async def lets_in(api: httpx2.AsyncClient, headers: dict[str, str]) -> bool:
    return (await api.get("/v1/schema/openapi.json", headers=headers)).status_code == 200


async def test_command_line_makes_and_revokes_tokens_at_any_node(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`organism token` asks the daemon of a state folder; the other daemons know of it."""

    async def order(name: str, *words: str) -> str:
        argv = ["token", *words, "--state", str(tmp_path / name / ".organism")]
        assert await anyio.to_thread.run_sync(call, argv) == 0
        return capsys.readouterr().out.strip().splitlines()[-1]

    secret = await order("a", "make", "ci", "--scope", "read")
    theirs = {"authorization": f"Bearer {secret}"}
    await until_true(lambda: lets_in(cluster.apis["b"], theirs))
    assert await order("b", "list") == "ci: read"
    assert await order("b", "revoke", "ci") == "ci revoked"
    await until_true(lambda: refuses(cluster.apis["a"], theirs))
