"""``organism init``: an organism to begin with."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from errno import EISDIR
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

from organism.cli.options import Json
from organism.cli.output import called_as, print_json, print_line
from organism.config.starter import NEXT_STEPS, Template, template_files
from organism.error_root import install
from organism.errors import ConfigError


def init(
    folder: Path = Path(),
    *,
    template: Template = "team",
    force: bool = False,
    json: Json = False,
) -> int:
    """Write an organism to begin with: commented, with a test of it.

    Args:
        folder: Where to.
        template: A team of agents, an agent with tools, a gateway for other programs, a program with an organism in it,
            or limits for each tenant.
        force: Overwrite what is there.
    """
    files = template_files(template)
    there = [] if force else [name for name in files if os.path.lexists(folder / name)]
    if ".gitignore" in there:  # of a project that was there before: it is not ours
        there.remove(".gitignore")
        del files[".gitignore"]
    if there:
        raise ConfigError(f"already here: {', '.join(there)}; use --force to overwrite", where=str(folder))
    _write(folder, files)
    if json:
        return print_json(list(files))
    print_line(f"wrote {', '.join(files)}; now try:")
    into = () if folder.resolve() == Path.cwd() else (f"cd {shlex.quote(str(folder))}",)
    for command in (*into, *_next_steps(template)):
        print_line(command)
    return 0


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files whole or not at all: into a folder of their own first, and moved once there was room for each.

    Raises:
        ConfigError: If they cannot be written. The folder is then as it was before.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    fresh = [folder / name for name in files if not os.path.lexists(folder / name)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".organism-init-", dir=folder) as beside:
            for name, text in files.items():
                if (folder / name).is_dir():
                    raise IsADirectoryError(EISDIR, f"{name} is a folder")
                Path(beside, name).write_text(text, encoding="utf-8")
            for name in files:
                Path(beside, name).replace(folder / name)
    except BaseException as error:
        for path in fresh:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise ConfigError(f"cannot be written: {error.strerror}", where=str(folder)) from None
        raise


def _next_steps(template: Template) -> Iterator[str]:
    """Yield the commands that come next, with programs that are not on the shell's path by their own."""
    for command in NEXT_STEPS[template]:
        program, space, rest = command.partition(" ")
        if rest == "-m pytest" and find_spec("pytest") is None:
            yield install("pytest")
        if program == "organism" and os.sep in (typed := called_as()):
            program = shlex.quote(str(Path(typed).absolute()))
        elif program == "python" and not _is_ours(which("python")):
            program = shlex.quote(sys.executable)
        yield f"{program}{space}{rest}"


def _is_ours(python: str | None) -> bool:
    """Whether a Python is the one that runs; those of two environments may be links to the same file."""
    return python is not None and Path(python).parent.absolute() == Path(sys.executable).parent.absolute()
