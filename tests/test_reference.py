"""The reference pages of the manual say what the command line and the schema say."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = runpy.run_path(str(DOCS / "generate_reference.py"))["PAGES"]


@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_what_is_shipped(name: str) -> None:
    """Every command, option and key stands in the manual as it is; write the page anew if this fails."""
    kept = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert kept == PAGES[name](), "run: python docs/generate_reference.py"
