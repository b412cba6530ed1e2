"""The audit of dependencies says what it knows, and never takes what nobody answered for what is in order."""

from typing import Any

import pytest

from tests.dependencies.audit import UNKNOWN, Audit, audited, locked


def installed(name: str, digest: str | None) -> dict[str, Any]:
    archive = {} if digest is None else {"hashes": {"sha256": digest}}
    return {"metadata": {"name": name, "version": "1.0"}, "download_info": {"archive_info": archive}}


def test_packages_are_pinned_by_hash_and_what_has_none_is_named() -> None:
    """What pip would install is pinned, our own package aside; a file without a hash is told."""
    files = {"b": "22", "A": "11", "c": None, "organism-runtime": None}

    report = {"install": [installed(name, digest) for name, digest in files.items()]}

    assert locked(report) == (["A==1.0 --hash=sha256:11", "b==1.0 --hash=sha256:22"], ["c 1.0"])


@pytest.mark.parametrize(
    ("dependencies", "code"),
    [
        ([{"name": "a", "version": "1.0", "vulns": []}], 0),
        ([{"name": "a", "version": "1.0", "vulns": [{"id": "X-1", "fix_versions": ["1.1"]}]}], 1),
        ([{"name": "a", "skip_reason": "not found"}], UNKNOWN),
        ([], UNKNOWN),
    ],
)
def test_only_what_was_asked_about_and_found_good_holds(dependencies: list[dict[str, Any]], code: int) -> None:
    """A known weakness fails the audit, and so does a package of which nobody could say anything."""
    assert audited(["a==1.0 --hash=sha256:11"], [], {"dependencies": dependencies}).code == code


def test_nothing_at_all_is_no_audit() -> None:
    """Where pip found nothing, or a file has no hash, nothing has been shown."""
    assert audited([], [], {"dependencies": []}).code == 1
    assert Audit(locked=1, without=["c 1.0"], answered=1).code == 1
    assert Audit(locked=1, answered=1, why="no network").code == 1
