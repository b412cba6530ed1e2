"""Puts a client into a folder of its own outside of the repository, from npm or from the index of Python's packages."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import platformdirs

from tests.clients.catalog import Client

CACHE = platformdirs.user_cache_path("organism") / "clients"


def folder_of(client: Client, cache: Path) -> Path:
    """Return where a client is, or will be."""
    return cache / client.folder


def program_path(client: Client, cache: Path) -> str:
    """Return the folders of a client's own programs, before those of the system."""
    folder = folder_of(client, cache)
    own = folder / "bin" if client.registry == "pip" else folder / "node_modules" / ".bin"
    node = shutil.which("node")
    return ":".join([str(own), *([str(Path(node).parent)] if node else []), "/usr/local/bin:/usr/bin:/bin"])


def install(client: Client, cache: Path, *, newest: bool = False) -> None:
    """Install a client unless it is there.

    Raises:
        RuntimeError: If that fails.
    """
    folder = folder_of(client, cache)
    done = folder / "installed"
    if done.exists() and not newest:
        return
    folder.mkdir(parents=True, exist_ok=True)
    if client.registry == "pip":
        if not (folder / "bin").exists():
            venv.create(folder)
        python = str(folder / "bin" / "python")
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--upgrade", *client.packages]
    else:
        (folder / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
        command = ["npm", "install", "--no-fund", "--no-audit", "--silent", *client.packages]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"{client.name} cannot be installed:\n{(ran.stdout + ran.stderr)[-2000:]}")
    done.write_text("", encoding="utf-8")


def version_of(client: Client, cache: Path) -> str:
    """Return the installed version of a client's first package."""
    folder, package = folder_of(client, cache), client.packages[0].partition("[")[0]
    if client.registry == "npm":
        text = (folder / "node_modules" / package / "package.json").read_text(encoding="utf-8")
        return str(json.loads(text)["version"])
    name = package.replace("-", "_").lower()
    for path in folder.glob("lib/*/site-packages/*.dist-info"):
        found, _, version = path.name.removesuffix(".dist-info").partition("-")
        if found.lower() == name:
            return version
    return "?"
