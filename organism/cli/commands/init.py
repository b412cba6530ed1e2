"""``organism init``: an organism to begin with."""

import shlex
from pathlib import Path

from organism.cli.options import Json
from organism.cli.output import print_json, print_line
from organism.config.starter import NEXT_STEPS, Template, template_files
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
    there = [] if force else [name for name in files if (folder / name).exists()]
    if ".gitignore" in there:  # of a project that was there before: it is not ours
        there.remove(".gitignore")
        del files[".gitignore"]
    if there:
        raise ConfigError(f"already here: {', '.join(there)}; use --force to overwrite", where=str(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(folder)) from None
    if json:
        return print_json(list(files))
    print_line(f"wrote {', '.join(files)}; now try:")
    into = () if folder.resolve() == Path.cwd() else (f"cd {shlex.quote(str(folder))}",)
    for command in (*into, *NEXT_STEPS[template]):
        print_line(command)
    return 0
