"""Several daemons as one organism: what the file says of it, and what it may not."""

from pathlib import Path

import pytest

from organism import ConfigError
from organism.config.load import parse_config
from organism.config.schema.root import listed_labels
from organism.config.yaml.scalars import AnyEnvironment
from organism.daemon.journal_file import database_url

BEGIN = """\
name: house
entry: a
agents: {a: {handler: "m:f"}}
"""


def test_url_alone_is_enough(tmp_path: Path) -> None:
    """One line makes a daemon a node; its database may be named in the environment, as all of it may."""
    environment = {"DATABASE_URL": "postgresql://u:secret@h/d", "NODE": "n1", "AT": "http://10.0.0.5:8420"}
    loaded = parse_config(BEGIN + 'cluster: {url: "${env:DATABASE_URL}"}', "organism.yaml", tmp_path, environment)
    section = loaded.config.cluster
    assert section is not None
    assert (section.partitions, section.node, section.advertise) == (16, None, None)
    assert database_url(loaded, environment) == "postgresql://u:secret@h/d"
    whole = 'cluster: {url: "${env:DATABASE_URL}", partitions: 4, node: "${env:NODE}", advertise: "${env:AT}"}'
    section = parse_config(BEGIN + whole, "organism.yaml", tmp_path, environment).config.cluster
    assert section is not None
    assert (section.partitions, section.node, section.advertise) == (4, "n1", "http://10.0.0.5:8420")
    assert parse_config(BEGIN + whole, "organism.yaml", tmp_path, AnyEnvironment()).config.cluster is not None


def test_store_is_named_by_the_environment(tmp_path: Path) -> None:
    """The database of one daemon alone may be named so too."""
    loaded = parse_config(BEGIN + 'store: "${env:OTHER}"', "organism.yaml", tmp_path, {"OTHER": "postgresql://h/d"})
    assert loaded.config.store == "postgresql://h/d"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("cluster: {url: x}", r"organism.yaml:4:\d+: .*needs the URL of a PostgreSQL database"),
        ('cluster: {url: "postgresql://h/d", partitions: 1}', r"organism.yaml:4:\d+: .*from 2 to 256"),
        ('cluster: {url: "postgresql://h/d", node: "a b"}', r"organism.yaml:4:\d+: .*cannot be a node's name"),
        ('cluster: {url: "postgresql://h/d", advertise: "h:1"}', r"organism.yaml:4:\d+: .*write only where"),
        ('store: postgres\ncluster: {url: "postgresql://h/d"}', r"organism.yaml:4:\d+: .*leave 'store' out"),
        ('cluster: {url: "postgresql://h/d", labels: "gpu, a--b"}', r"organism.yaml:4:\d+: .*'a--b' cannot be a label"),
        ('cluster: {url: "postgresql://h/d", labels: [gpu, ""]}', r"organism.yaml:4:\d+: .*'' cannot be a label"),
        (
            'cluster: {url: "postgresql://h/d", label_partitions: {9: 1}}',
            r"organism.yaml:4:\d+: .*'9' cannot be a label",
        ),
        ('cluster: {url: "postgresql://h/d", label_partitions: {gpu: 0}}', r"organism.yaml:4:\d+: .*at least 1"),
        (
            'cluster: {url: "postgresql://h/d", label_partitions: {gpu: 200, eu: 41}}',
            r"organism.yaml:4:\d+: .*with those of labels, eu, gpu, there are more than 256 partitions",
        ),
        (
            'cluster: {url: "postgresql://h/d"}\nexporters: {e: {type: jsonl, path: e.jsonl}}',
            r"organism.yaml:5:\d+: .*use a webhook in a cluster",
        ),
    ],
)
def test_wrong_cluster_is_refused_where_it_is_written(tmp_path: Path, wrong: str, said: str) -> None:
    """What a cluster cannot keep is refused with its line, and with what to write instead."""
    with pytest.raises(ConfigError, match=said):
        parse_config(BEGIN + wrong, "organism.yaml", tmp_path, {})


def test_labels_are_a_list_or_a_text_that_may_be_elsewhere(tmp_path: Path) -> None:
    """Each daemon takes its own from its environment, also none."""

    def labels(written: str, **environment: str) -> list[str]:
        text = f'{BEGIN}cluster: {{url: "postgresql://h/d", labels: {written}}}'
        section = parse_config(text, "organism.yaml", tmp_path, environment).config.cluster
        assert section is not None
        return listed_labels(section.labels)

    assert labels("[gpu, eu-1]") == labels('"gpu, eu-1"') == ["gpu", "eu-1"]
    assert labels('"${env:NODE_LABELS}"', NODE_LABELS="gpu eu-1") == ["gpu", "eu-1"]
    assert labels('"${env:NODE_LABELS:-}"') == []
    text = f'{BEGIN}cluster: {{url: "postgresql://h/d", labels: "${{env:NODE_LABELS}}"}}'
    assert parse_config(text, "organism.yaml", tmp_path, AnyEnvironment()).config.cluster is not None


PAINTS = """\
name: house
entry: a
llm: {providers: {p: {type: local}}, models: {m: p/smollm2-135m}}
agents:
  a: {model: m, %s}
  b: {handler: "m:f", node_label: gpu}
"""
ONE_THREAD = r"'a' works at any node and 'b' at nodes labelled 'gpu', but a thread is at one node"


@pytest.mark.parametrize(
    "written", ["next: b", "peers: [b]", 'peers: ["*"]', "tools: [{ask: b}]", "tools: [{send: b}]"]
)
def test_agents_at_different_nodes_may_not_work_in_one_thread(tmp_path: Path, written: str) -> None:
    """A file in which one may write to the other is refused at that line, also where nothing says yet of a cluster."""
    with pytest.raises(ConfigError, match=rf"organism.yaml:5:\d+: .*{ONE_THREAD}"):
        parse_config(PAINTS % written, "organism.yaml", tmp_path, {})
    parse_config(PAINTS % f"node_label: gpu, {written}", "organism.yaml", tmp_path, {})


def test_a_label_that_cannot_be_is_refused_at_its_agent(tmp_path: Path) -> None:
    """With what one is made of."""
    with pytest.raises(ConfigError, match=r"organism.yaml:5:\d+: .*'a b' cannot be a label of nodes: use a letter"):
        parse_config(PAINTS % 'node_label: "a b"', "organism.yaml", tmp_path, {})
