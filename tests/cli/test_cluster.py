"""``organism cluster`` and the ledger of a cluster, on its database alone: no node need run."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from organism.cli import exit_codes
from organism.cli.app import call
from organism.clock import SystemClock
from organism.ledger.ledger import Ledger
from organism.router.limits.provider_share import NodeClaims, ProviderClaims, RateClaim
from organism.stores.batch import batch_of
from organism.stores.leases import Lease
from organism.stores.postgres.database import PostgresDatabase
from organism.stores.postgres.lease_table import LeaseTable
from organism.stores.postgres.rate_table import RateTable
from organism.testing.postgres_server import PostgresServer
from organism.testing.store_contract import event, live_a_little

pytestmark = pytest.mark.debian

PARTITIONS = 4
Asked = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def nodes(url: str) -> Iterator[tuple[LeaseTable, LeaseTable]]:
    """Register two nodes; the first has three partitions and the second one."""
    with closing(table(url, "a")) as a, closing(table(url, "b")) as b:
        for one, where in ((a, "http://a:8321"), (b, "http://b:8321")):
            one.register(where, "1.2.3", SystemClock().now_ns())
        a.acquire(3, [])
        b.acquire(1, [])
        yield a, b


def test_status_marks_nodes_with_another_file(nodes: tuple[LeaseTable, LeaseTable], asked: Asked) -> None:
    """And says what to do, until all have the newest: by a reload, or because no node has a newer any more."""
    a, b = nodes
    assert (ordered(a, "old"), ordered(b, "old")) == (1, 1)
    newest = ordered(a, "new", before="old")
    assert newest > ordered(b, "old") == 1
    code, told, _ = asked("cluster", "status")
    assert (code, "b has another configuration than the newest" in told, "a has another" in told) == (0, True, False)
    assert "old" in told
    assert "[yellow]" not in told
    assert ordered(b, "new", before="old") == newest
    assert "another configuration" not in asked("cluster", "status")[1]
    assert ordered(b, "old", before="new") > newest  # it is put back
    assert ordered(a, "new") == newest
    shown = json.loads(asked("cluster", "status", "--json")[1])["nodes"]
    assert [(one["configuration"], one["differs"]) for one in shown] == [("new", True), ("old", False)]
    b.leave()
    assert ordered(a, "new") > newest


def ordered(node: LeaseTable, mark: str, before: str = "") -> int:
    """Give a node a file, and return how late that was ordered."""
    number = node.order(mark, before)
    node.configured(mark, number)
    return number


def table(url: str, node: str, *labels: str) -> LeaseTable:
    said = {"labels": frozenset(labels), "label_partitions": dict.fromkeys(labels, 1)}
    return LeaseTable(url, name="house", node=node, partitions=PARTITIONS, ttl_s=60, **said)  # type: ignore[arg-type]


@pytest.fixture
def asked(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Return a call of the command in a folder whose configuration names the database."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "organism.yaml").write_text(
        f"name: house\nentry: a\nstore: {url}\n"
        "llm: {providers: {p: {type: local}}, models: {m: p/smollm2-135m}}\n"
        "agents: {a: {model: m, system: Do.}}\n"
    )

    def ask(*words: str) -> tuple[int, str, str]:
        code = call(list(words))
        told = capsys.readouterr()
        return code, told.out, told.err

    return ask


def states(told: str) -> dict[int, tuple[str, str | None]]:
    return {one["partition"]: (one["state"], one["node"]) for one in json.loads(told)["partitions"]}


def test_status_tells_who_has_what(nodes: tuple[LeaseTable, LeaseTable], asked: Asked) -> None:
    """Each node with its address and share, each partition with its node: as a table and as JSON."""
    code, told, _ = asked("cluster", "status", "--json")
    assert code == exit_codes.OK
    found = json.loads(told)
    assert [(one["node"], one["state"], one["partitions"], one["url"]) for one in found["nodes"]] == [
        ("a", "running", [0, 1, 2], "http://a:8321"),
        ("b", "running", [3], "http://b:8321"),
    ]
    assert states(told) == dict.fromkeys((0, 1, 2), ("running", "a")) | {3: ("running", "b")}
    code, told, _ = asked("cluster", "status")
    assert "http://b:8321" in told
    nodes[1].ask([2])
    assert states(asked("cluster", "status", "--json")[1])[2] == ("asked for", "a")


def test_status_tells_who_may_use_what_of_a_provider(nodes: object, url: str, asked: Asked) -> None:
    """Each node's part of each limit, and what it uses of it; a database of an older program has none."""
    del nodes
    claims = {"requests": RateClaim(limit=1000, granted=600, used=512, waiting=3)}
    with closing(RateTable(url)) as rates:
        row = NodeClaims(node="a", incarnation=1, seen_s=0.5, claims=claims)  # type: ignore[arg-type]
        assert rates.write(ProviderClaims(provider="openai", nodes=(row,)))
    code, told, _ = asked("cluster", "status", "--json")
    assert code == exit_codes.OK
    assert json.loads(told)["rates"] == [
        {
            "provider": "openai", "unit": "requests", "node": "a",
            "limit": 1000, "granted": 600, "used": 512, "waiting": 3,
        }
    ]  # fmt: skip
    assert "1,000 requests/min" in asked("cluster", "status")[1]


def test_status_names_a_provider_whose_limits_nobody_can_read(
    postgres: PostgresServer, nodes: object, url: str, asked: Asked
) -> None:
    """With the command that mends it; the rest of the cluster is shown as ever."""
    del nodes
    postgres.execute("INSERT INTO organism.rates VALUES ('openai', 1, 'no json')", url)
    code, told, _ = asked("cluster", "status", "--json")
    assert code == exit_codes.FAILED
    assert [*json.loads(told)["unreadable_rates"]] == ["openai"]
    shown = " ".join(asked("cluster", "status")[1].split())
    assert "what the nodes have of openai's limits" in shown
    assert "cluster forget-rates openai" in shown
    assert "agree anew" in asked("cluster", "forget-rates", "openai")[1]
    assert asked("cluster", "status")[0] == exit_codes.OK
    assert "nothing to forget" in asked("cluster", "forget-rates", "openai")[1]


def test_check_tells_what_it_finds_of_the_database(nodes: object, url: str, asked: Asked, tmp_path: Path) -> None:
    """Whether it is there and as configured; a file is right also where the database is not there or is another's."""
    del nodes
    file = tmp_path / "organism.yaml"
    plain = file.read_text().replace(f"store: {url}\n", "")

    def check(section: str, *words: str) -> str:
        file.write_text(f"{plain}cluster: {section}\n")
        code, told, _ = asked("check", *words)
        assert code == exit_codes.OK
        return " ".join(told.split())

    right = f"{{url: '{url}', partitions: {PARTITIONS}, node: n1, advertise: 'http://n1:8420'}}"
    assert "node n1, reached by http://n1:8420 its database has 4 partitions, as configured" in check(right)
    cluster = json.loads(check(right, "--json"))["cluster"]
    assert cluster == {"node": "n1", "partitions": 4, "database": "as configured"}
    assert "has 4 partitions, and this node is configured for 16" in check(f"{{url: '{url}'}}")
    labelled = check(right.replace("node: n1", "node: n1, labels: [gpu]"))
    assert "node n1, reached by http://n1:8420, labelled gpu" in labelled
    away = check("{url: 'postgresql://127.0.0.1:1/x'}")
    assert "! PostgreSQL at 127.0.0.1:1, database x cannot be reached" in away
    assert "organism.yaml is right" in away


def test_what_nobody_has_is_told(postgres: PostgresServer, url: str, nodes: object, asked: Asked) -> None:
    """A partition that is free or whose lease has run out ends status with code 1, for whatever watches."""
    del nodes
    postgres.execute("UPDATE organism.leases SET expires = '-infinity' WHERE p = 1", url)
    postgres.execute("UPDATE organism.nodes SET seen = '-infinity' WHERE node = 'b'", url)
    code, told, _ = asked("cluster", "status")
    assert code == exit_codes.FAILED
    assert "a had it" in told
    assert "silent" in told


def test_a_node_is_drained_and_takes_its_share_again(nodes: tuple[LeaseTable, LeaseTable], asked: Asked) -> None:
    """Drain says how much there is to hand over and whether nobody would take it, and can be undone."""
    code, told, error = asked("cluster", "drain", "a")
    assert (code, error) == (exit_codes.OK, "")
    assert "a hands over 3 partitions; see: organism cluster status" in told
    assert [(node.name, node.draining) for node in nodes[0].look().nodes] == [("a", True), ("b", False)]
    code, told, error = asked("cluster", "drain", "b", "--json")
    assert "no other node takes partitions" in error
    assert json.loads(told) == {"node": "b", "draining": True, "partitions": 1}
    assert "b hands over 1 partition; see: organism cluster status" in asked("cluster", "drain", "b")[1]
    assert asked("cluster", "drain", "a", "--undo")[:2] == (exit_codes.OK, "a takes its share again\n")
    assert not nodes[0].look().nodes[0].draining


def test_status_names_the_label_that_no_node_has(postgres: PostgresServer, url: str, asked: Asked) -> None:
    """And ends with code 1; a node that is drained is told that its threads will wait."""
    with closing(table(url, "a")) as a, closing(table(url, "b", "gpu")) as b:
        for one in (a, b):
            one.register("", "1.2.3", SystemClock().now_ns())
        a.acquire(PARTITIONS, [])
        b.acquire(1, [], "gpu")
        assert asked("cluster", "status")[0] == exit_codes.OK
        found = json.loads(asked("cluster", "status", "--json")[1])
        assert [each["labels"] for each in found["nodes"]] == [[], ["gpu"]]
        assert [each["node_label"] for each in found["partitions"]] == ["", "", "", "", "gpu"]
        assert found["missing_labels"] == []

        error = asked("cluster", "drain", "b")[2]
        assert "no node that takes partitions has the label 'gpu'" in error
        assert "undo the drain with --undo" in error
        assert asked("cluster", "drain", "b", "--undo")[0] == exit_codes.OK
    postgres.execute("UPDATE organism.nodes SET seen = '-infinity' WHERE node = 'b'", url)
    postgres.execute("UPDATE organism.leases SET expires = '-infinity' WHERE p = 4", url)
    code, told, _ = asked("cluster", "status")
    assert code == exit_codes.FAILED
    shown = " ".join(told.split())
    assert "needs a node labelled gpu" in shown
    assert "no node that takes partitions has the label 'gpu': start one that has gpu in its cluster.labels" in shown
    assert json.loads(asked("cluster", "status", "--json")[1])["missing_labels"] == ["gpu"]


def test_status_reads_the_tables_of_a_program_that_knew_no_labels(
    postgres: PostgresServer, nodes: object, url: str, asked: Asked
) -> None:
    """An operator who has upgraded first sees the cluster all the same; nothing of it is changed."""
    del nodes
    postgres.execute("ALTER TABLE organism.nodes DROP COLUMN labels", url)
    postgres.execute("ALTER TABLE organism.leases DROP COLUMN node_label", url)
    assert asked("cluster", "status")[0] == exit_codes.OK
    assert asked("ledger", "verify")[0] == exit_codes.OK


def test_a_stopped_partition_is_resumed(nodes: tuple[LeaseTable, LeaseTable], asked: Asked) -> None:
    """Status says why it is stopped and what to type; what is not stopped stays as it is."""
    nodes[0].stop(Lease(2, 1, PARTITIONS), "an older copy was restored")
    code, told, _ = asked("cluster", "status")
    assert code == exit_codes.FAILED
    assert "an older copy was restored" in told
    assert "organism cluster resume 2" in told
    assert asked("cluster", "resume", "2")[:2] == (exit_codes.OK, "partition 2 is free for the next node\n")
    assert nodes[0].look().leases[2].stopped == ""
    assert asked("cluster", "resume", "2")[1] == "partition 2 is not stopped\n"


REFUSED = {
    "a node that is none": (("drain", "z"), "the cluster has no node 'z'; its nodes: 'a', 'b'"),
    "a partition that is none": (("resume", "4"), "no partition 4; see: organism cluster status"),
    "no database there": (("status", "--database", "postgresql://127.0.0.1:1/x"), "cannot be reached"),
    "no address": (("status", "--database", "nonsense"), "URL cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_told_in_a_line(case: str, nodes: object, asked: Asked) -> None:
    """Each error names what there is instead, or what to do."""
    del nodes
    words, told = REFUSED[case]
    code, _, error = asked("cluster", *words)
    assert code in (exit_codes.USAGE, exit_codes.FAILED)
    assert told in error
    assert error.count("\n") == 1


def test_the_journal_of_one_daemon_is_no_cluster(url: str, asked: Asked) -> None:
    """A database with one journal, and a journal in a file, are told apart from a cluster."""
    PostgresDatabase(url).close()
    assert "one daemon, which is no cluster" in asked("cluster", "status")[2]
    Path("organism.yaml").write_text(Path("organism.yaml").read_text().replace(f"store: {url}", "store: sqlite"))
    assert "its journal is a file" in asked("cluster", "status")[2]


def test_names_of_nodes_are_completed(nodes: object, asked: Asked) -> None:
    """The shell offers the nodes there are."""
    del nodes
    lines = asked("__complete", "cluster", "drain", "")[1].splitlines()
    assert {line.split("\t")[0] for line in lines} >= {"a", "b"}


def fill(url: str, partitions: tuple[int, ...]) -> None:
    """Leave a ledger in some partitions."""
    with closing(table(url, "a")) as a:
        a.register("", "1.2.3", SystemClock().now_ns())
        leases = a.acquire(PARTITIONS, [])
    for lease in leases:
        if lease.partition in partitions:
            records: list[object] = [event(1)]
            live_a_little(Ledger(records.append))
            with closing(PostgresDatabase(url, lease=lease)) as database:
                database.write(batch_of(records), 1)


def test_the_ledger_of_every_partition_is_verified(postgres: PostgresServer, url: str, asked: Asked) -> None:
    """One command verifies all, names the partition that is wrong, and its anchor tells a later older copy."""
    fill(url, (1, 3))
    code, told, _ = asked("ledger", "verify")
    assert code == exit_codes.OK
    assert "partition 0: 0 entries are right" in told
    assert "partition 3: " in told
    anchor = told.rpartition("anchor ")[2].strip()
    assert [part.partition("=")[0] for part in anchor.split(",")] == ["1", "3"]
    assert asked("ledger", "verify", "--anchor", anchor)[0] == exit_codes.OK

    postgres.execute("DELETE FROM organism.entries WHERE p = 3 AND seq = 4", url)
    code, told, _ = asked("ledger", "verify", "--json")
    assert code == exit_codes.FAILED
    wrong = [one["partition"] for one in json.loads(told)["partitions"] if one["fault"]]
    assert wrong == [3]
    postgres.execute("DELETE FROM organism.entries WHERE p = 3", url)
    code, told, _ = asked("ledger", "verify", "--anchor", anchor)
    assert code == exit_codes.FAILED
    assert "partition 3: " in told
    assert "the newest are missing" in told
    assert not told.splitlines()[-1].startswith("anchor ")


def test_an_anchor_of_something_else_is_refused(url: str, asked: Asked) -> None:
    """An anchor of one journal proves nothing of a cluster, and one of a partition that there is not neither."""
    fill(url, ())
    for anchor, told in ((f"1:{'0' * 64}", "of one single journal"), (f"9=1:{'0' * 64}", "of partition 9")):
        code, _, error = asked("ledger", "verify", "--anchor", anchor)
        assert code == exit_codes.USAGE
        assert told in error


def test_the_ledgers_of_a_cluster_are_exported_with_their_partitions(url: str, asked: Asked) -> None:
    """Numbers of entries begin anew in each partition, so each line says whose it is; the entry stays as written."""
    fill(url, (1, 3))
    lines = asked("ledger", "export")[1].splitlines()
    assert {json.loads(line)["partition"] for line in lines} == {1, 3}
    with closing(PostgresDatabase(url, take=False, lease=Lease(1, 0, PARTITIONS))) as database:
        (first, *_) = database.entries_after(0, 1)
    assert lines[0] == f'{{"partition":1,"entry":{first.body}}}'
    rows = asked("ledger", "export", "--form", "csv")[1].splitlines()
    assert rows[0].startswith("partition,seq,time,")
    assert {row.partition(",")[0] for row in rows[1:]} == {"1", "3"}


def test_what_only_nodes_answer_is_told(url: str, asked: Asked) -> None:
    """Where a cluster's journals are and no node answers, budgets and threads are not made up of one of them."""
    fill(url, (1,))
    code, _, error = asked("usage")
    assert code == exit_codes.USAGE
    assert "this is answered by its nodes" in error
    assert asked("usage", "report", "--json")[0] == exit_codes.OK


def test_the_ledgers_are_read_beside_a_node_that_answers(
    url: str, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the configuration is a node's, no daemon is asked: it would answer for single partitions only."""
    fill(url, (1,))
    file = Path("organism.yaml")
    file.write_text(file.read_text().replace(f"store: {url}", f'cluster: {{url: "{url}"}}'))
    monkeypatch.setattr("organism.cli.options.DaemonOptions.client", lambda _daemon: pytest.fail("a daemon was asked"))
    code, told, _ = asked("ledger", "verify")
    assert code == exit_codes.OK
    assert "partition 1: " in told
