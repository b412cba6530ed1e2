"""Journals as earlier versions have written them: today's organism reads the same in them, and goes on."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from organism.stores.schema import VERSION
from organism.testing import ScriptedProvider
from organism.testing.audit import audit_journal
from tests.corpus.facts import JOURNALS, facts, unpack
from tests.corpus.scene import an_organism, words

NAMES = sorted(path.name.removesuffix(".db.xz") for path in JOURNALS.glob("*.db.xz"))
SIZE_MAX = 50_000


def test_corpus_has_a_journal_of_each_schema_and_stays_small(tmp_path: Path) -> None:
    """Every schema there was is among them, today's too, and none makes the repository large."""
    found = set()
    for name in NAMES:
        unpack(name, tmp_path / name)
        with closing(apsw.Connection(str(tmp_path / name))) as connection:
            found |= {version for (version,) in connection.execute("PRAGMA user_version")}
    assert found == set(range(1, VERSION + 1)), "keep a journal of this schema: python -m tests.corpus NAME"
    assert all(JOURNALS.joinpath(f"{name}.db.xz").stat().st_size < SIZE_MAX for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_journal_of_an_earlier_version_says_the_same(name: str, tmp_path: Path) -> None:
    """Balances, warnings, live state and events of an old journal are byte for byte what they were."""
    unpack(name, tmp_path / "journal.db")
    assert facts(tmp_path / "journal.db") == JOURNALS.joinpath(f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.anyio
@pytest.mark.parametrize("name", NAMES)
async def test_organism_goes_on_with_a_journal_of_an_earlier_version(name: str, tmp_path: Path) -> None:
    """Threads that waited for a person or for budget still wait, new ones run, and nothing is charged twice."""
    path = tmp_path / "journal.db"
    unpack(name, path)
    provider = ScriptedProvider(words)
    async with an_organism(path, provider) as organism:
        waiting = {view.thread_id for view in organism.control.queries.threads().threads}
        assert {"t-approve", "t-poor"} <= waiting
        assert not organism.control.quarantine.list()
        result = await organism.run("plain")
        assert result.text == "plain: done"
    assert len(provider.requests) == 1, "what was paid is not asked again"
    audit = audit_journal(path)
    assert audit.findings == []
