"""What is installed is whole: it works away from the checkout, with the files that are no Python."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling import build

ROOT = Path(__file__).parent.parent


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Build the wheel and unpack it where nothing of the checkout is."""
    monkeypatch.chdir(ROOT)
    wheel = tmp_path / build.build_wheel(str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 - built a moment ago, out of our own files
    return tmp_path / "site"


def test_wheel_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The command of an installed package writes its starter, finds it right, and is the package that was built."""
    folder = tmp_path / "new"
    for arguments in (["init", str(folder)], ["check", "--file", str(folder / "organism.yaml")]):
        result = subprocess.run(
            [sys.executable, "-m", "organism", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert result.returncode == 0, result.stderr

    assert (folder / "organism.schema.json").stat().st_size > 1000
    where = subprocess.run(
        [sys.executable, "-c", "import organism; print(organism.__file__)"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert where.stdout.strip() == str(installed / "organism" / "__init__.py")


def test_wheel_has_everything_that_is_not_python(installed: Path) -> None:
    """Type checkers see that the package is typed, and every data file of the checkout is in it."""
    package = ROOT / "organism"
    data = {
        path.relative_to(ROOT)
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "__pycache__" not in path.parts
    }

    assert Path("organism/py.typed") in data
    assert [str(path) for path in sorted(data) if not (installed / path).is_file()] == []


def test_source_distribution_can_test_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever packages organism gets its tests, its examples and the organism they run."""
    monkeypatch.chdir(ROOT)
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"tests/test_packaging.py", "examples/tides_team.py", "organism.yaml", "constraints.txt", "LICENSE"} <= names
