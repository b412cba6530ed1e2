"""``python -m organism`` and the ``organism`` command.

The page of ``organism --help`` lies ready in a file: making it imports the whole command line, which takes ten times
as long as reading it. A test compares the two.
"""

import shutil
import sys
from pathlib import Path

HELP = Path(__file__).parent / "cli" / "help.txt"
HELP_COLUMNS = 80


def main() -> None:
    """Run the command line and leave with its exit code."""
    if sys.argv[1:] in ([], ["--help"], ["-h"]) and shutil.get_terminal_size().columns >= HELP_COLUMNS:
        sys.stdout.write(HELP.read_text(encoding="utf-8"))
        return
    from organism.cli import main as run

    run()


if __name__ == "__main__":
    main()
