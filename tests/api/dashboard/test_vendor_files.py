"""What the dashboard is made of: the same files for everybody, small, from nowhere else, its libraries as pinned."""

import gzip
import re
from hashlib import sha256
from pathlib import Path

import pytest

import organism.api
from organism.api.routes.pages import DASHBOARD

FOLDER = Path(organism.api.__file__).parent / "dashboard"
SOURCES = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".js", ".css", ".html", ".svg"})
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySet|document\.write|eval\(|new Function")
OWN = [path for path in SOURCES if "vendor" not in path.parts]


def test_libraries_are_as_pinned() -> None:
    """The files of Preact and htm are those of their packages, but for the name that one calls another by."""
    listed = re.findall(r"^([0-9a-f]{64})  (\S+)$", (FOLDER / "vendor/README.md").read_text(), re.MULTILINE)
    assert {name for _, name in listed} == {path.name for path in FOLDER.glob("vendor/*.js")}
    for digest, name in listed:
        assert sha256((FOLDER / "vendor" / name).read_bytes()).hexdigest() == digest, name


def test_page_is_small() -> None:
    """All of it takes less than 100 kB when compressed."""
    assert sum(len(gzip.compress(path.read_bytes())) for path in SOURCES) < 100_000


@pytest.mark.parametrize("path", OWN, ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_becomes_html_and_nothing_comes_from_elsewhere(path: Path) -> None:
    """No source of ours writes HTML, runs text as code, or names another host; what a view imports is there."""
    source = path.read_text()
    assert not MARKUP.search(source)
    assert "://" not in source.replace("http://www.w3.org/2000/svg", "")
    for name in re.findall(r'from "(\.[^"]+)"', source):
        assert (path.parent / name).resolve().is_file(), name


def test_every_file_that_a_view_loads_is_given_out() -> None:
    """Each file has its address and may be had without a token, for it holds no secret; licences have none."""
    paths = {rule.paths for rule in DASHBOARD.rules}
    assert paths == {"/" if path.name == "index.html" else f"/dashboard/{path.relative_to(FOLDER)}" for path in SOURCES}
