"""What ``organism init`` writes: small organisms to begin with, one for each way of using it."""

from pathlib import Path
from typing import Literal, get_args

from organism.config.json_schema import SHIPPED

_TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".template"
_DOTTED = frozenset({"gitignore", "env.example"})
"""Named without their dot here, so that no tool takes them for its own."""

Template = Literal["team", "tools", "gateway", "embedded", "tenants"]
"""What there is to begin with; the first unless asked otherwise."""

TEMPLATES: tuple[Template, ...] = get_args(Template)

NEXT_STEPS: dict[Template, tuple[str, ...]] = {
    "team": ("organism check", 'organism run "Write about tides"'),
    "tools": ("python -m pytest", "install -m 600 .env.example .env", "# write your key into it", "organism check"),
    "gateway": ("python -m pytest", "install -m 600 .env.example .env", "# write all keys into it", "organism check"),
    "embedded": ("python -m pytest", "python main.py"),
    "tenants": ("organism check", 'organism run "Write about tides" --label tenant=acme'),
}
"""Commands that come next, as they are typed in the new folder."""


def template_files(name: Template) -> dict[str, str]:
    """Return the files of a template by their names: its own, what Git is to leave out, and the schema for editors."""
    files: dict[str, str] = {}
    for path in sorted((*_TEMPLATES.joinpath(name).iterdir(), *_TEMPLATES.joinpath("common").iterdir())):
        plain = path.name.removesuffix(_SUFFIX)
        files[f".{plain}" if plain in _DOTTED else plain] = path.read_text(encoding="utf-8")
    if "organism.yaml" in files:
        files[SHIPPED.name] = SHIPPED.read_text(encoding="utf-8")
    return files
