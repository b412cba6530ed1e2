"""Runs the command line as a user does: in a process of its own, in a folder."""

import os
import subprocess
import sys
from pathlib import Path


def organism(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``organism`` with these arguments; a traceback is no answer to any of them.

    Args:
        folder: Where it is run.
        arguments: Its arguments.
        environment: What is set beside the environment of the tests.
    """
    result = subprocess.run(
        [sys.executable, "-m", "organism", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    assert "Traceback" not in result.stderr + result.stdout, result.stderr
    return result
