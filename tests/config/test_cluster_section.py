"""Several daemons as one organism: what the file says of it, and what it may not."""

from pathlib import Path

import pytest

from organism import ConfigError
from organism.config.load import parse_config
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
