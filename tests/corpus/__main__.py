"""Add a journal to the corpus: ``python -m tests.corpus NAME`` for today's, ``--of CHECKOUT`` for an older one's."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.corpus.facts import JOURNALS, pack


def main() -> int:
    """Let an organism write a journal, and keep it with what today's reads in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="how to call it, such as the version that writes it")
    parser.add_argument("--of", type=Path, default=Path(), help="the checkout whose organism writes it")
    options = parser.parse_args()
    scene = Path(__file__).parent / "scene.py"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        environment = {**os.environ, "PYTHONPATH": str(options.of.resolve())}
        # A copy, called by its name alone: what fails says where, and that is kept.
        shutil.copy(scene, folder)
        subprocess.run([sys.executable, scene.name, str(path)], env=environment, cwd=folder, check=True)
        pack(path, options.name)
    size = JOURNALS.joinpath(f"{options.name}.db.xz").stat().st_size
    sys.stdout.write(f"kept {options.name}: {size:,} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
