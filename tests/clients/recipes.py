"""The two lines that set up a client, as docs/CLIENTS.md has them: what is documented is what is run.

A block of the page is found by the comment above it: ``<!-- NAME -->`` for lines of shell or of a program,
``<!-- NAME: ~/FILE -->`` for a file that the client reads.
"""

import re
from pathlib import Path

import msgspec

from tests.clients.stage import ROOT

PAGE = ROOT / "docs" / "CLIENTS.md"
ADDRESS = "http://127.0.0.1:8420"
_BLOCK = re.compile(r"^ *<!-- ([\w -]+?)(?:: ~/(\S+))? -->\n *```\w+\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Recipe(msgspec.Struct):
    """How a client is set up.

    Attributes:
        lines: Lines of shell, or the first lines of a program.
        files: What it reads in its home, by path.
    """

    lines: str = ""
    files: dict[str, str] = {}

    def write_files(self, home: Path) -> None:
        """Put the files where the client looks for them."""
        for path, text in self.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text, encoding="utf-8")


def read_recipes(gateway: str) -> dict[str, Recipe]:
    """Read the page with the daemon's real address in it."""
    found: dict[str, Recipe] = {}
    for names, path, text in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        for name in names.split():
            recipe = found.setdefault(name, Recipe())
            if path:
                recipe.files[path] = text.replace(ADDRESS, gateway)
            else:
                recipe.lines = text.replace(ADDRESS, gateway)
    return found
