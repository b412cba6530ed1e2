"""Writes the reference pages of the command line and of organism.yaml: ``python docs/generate_reference.py``.

Both are made from what is shipped: the pages of help as the terminal shows them, and the JSON Schema that editors use.
A test holds the pages to it.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from cyclopts import App

from organism.cli.app import call, command_tree
from organism.cli.commands import SECTIONS
from organism.config.json_schema import json_schema

REFERENCE = Path(__file__).parent / "reference"
_COLUMNS = "100"


def cli_page() -> str:
    """Return the reference of the command line, in Markdown."""
    parts = [
        "# Command line",
        (
            "Made from the pages of help by `docs/generate_reference.py`; `organism COMMAND --help` shows the same. "
            "Commands with `--json` print one JSON document and nothing else. What the exit codes mean, and how the "
            "commands are used, is in [Operating](../OPERATING.md)."
        ),
    ]
    for title, commands in SECTIONS.items():
        parts.append(f"## {title.replace('The daemon', 'Daemon')}")
        for command in commands:
            parts += _command(command_tree()[command.name], (command.name,), command.aliases)
    return "\n\n".join(parts) + "\n"


def _command(app: App, path: tuple[str, ...], aliases: tuple[str, ...] = ()) -> Iterator[str]:
    yield f"{'#' * min(4, 2 + len(path))} organism {' '.join(path)}"
    if aliases:
        yield f"Also: {', '.join(f'`organism {alias}`' for alias in aliases)}."
    yield f"```text\n{_help(path)}\n```"
    for name in app:
        if not name.startswith("-"):
            yield from _command(app[name], (*path, name))


def _help(path: tuple[str, ...]) -> str:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _COLUMNS
    try:
        with redirect_stdout(io.StringIO()) as out:
            call([*path, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return out.getvalue().strip()


def configuration_page() -> str:
    """Return the reference of organism.yaml, in Markdown."""
    definitions: dict[str, Any] = json_schema()["$defs"]
    parts = [
        "# Configuration",
        (
            "Every key of `organism.yaml`. Made from the JSON Schema by `docs/generate_reference.py`; `organism init` "
            "writes the schema beside the file, for editors. A key that is misspelt or has a wrong value is refused "
            "with its line by `organism check`. A value may come from the environment: `${env:NAME}`."
        ),
    ]
    for name in _in_order(definitions):
        parts += _section(name, definitions[name])
    return "\n\n".join(parts) + "\n"


def _in_order(definitions: dict[str, Any]) -> list[str]:
    """Return the sections, the whole file first, each after the one that names it."""
    found = ["Config"]
    for name in found:
        found += [other for other in dict.fromkeys(_references(definitions[name])) if other not in found]
    return found


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield _name(reference)
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _section(name: str, definition: dict[str, Any]) -> Iterator[str]:
    yield f"## {_title(name)}"
    if description := definition.get("description"):
        yield description.split("\n\nAttributes:")[0].strip()
    if shapes := definition.get("anyOf"):
        yield f"One of: {_type({'anyOf': shapes})}."
    properties: dict[str, Any] = definition.get("properties", {})
    if not properties:
        return
    rows = ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    for key, node in properties.items():
        default = "required" if key in definition.get("required", ()) else _default(node)
        cells = (f"`{key}`", _type(node) + _bounds(node), default, node.get("description", ""))
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    yield "\n".join(rows)


def _default(node: dict[str, Any]) -> str:
    """Return the default; that of a whole section stands with its keys."""
    if "$ref" in node or "default" not in node or node["default"] in (None, {}, []):
        return ""
    return f"`{json.dumps(node['default'])}`"


def _type(node: dict[str, Any]) -> str:
    """Return what may stand there, in words and with links to sections."""
    writers: dict[str, Callable[[], str]] = {
        "$ref": lambda: _link(node["$ref"]),
        "anyOf": lambda: " or ".join(dict.fromkeys(_type(one) for one in node["anyOf"] if one != {"type": "null"})),
        "enum": lambda: " or ".join(f"`{value}`" for value in node["enum"]),
        "const": lambda: f"`{node['const']}`",
    }
    if (writer := next((writers[key] for key in writers if key in node), None)) is not None:
        return writer()
    match node.get("type"):
        case "array":
            return f"list of {_type(node.get('items', {}))}"
        case "object":
            return f"{_type(node.get('additionalProperties', {}))}, by name"
        case list(kinds):
            return " or ".join(kinds)
        case str(kind):
            return kind
        case _:
            return "any value"


def _bounds(node: dict[str, Any]) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else f", at most {high}" if high is not None else ""


def _link(reference: str) -> str:
    title = _title(_name(reference))
    return f"[{title}](#{title.lower().replace(' ', '-')})"


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _title(name: str) -> str:
    """Return a section's name in words: ``ThreadLimitsSection`` is ``Thread limits``."""
    if name == "Config":
        return "The file"
    words = ""
    stem = name.removesuffix("Section")
    for place, letter in enumerate(stem):
        begins = letter.isupper() and place > 0 and (stem[place - 1].islower() or stem[place + 1 : place + 2].islower())
        words += f" {letter}" if begins else letter
    return " ".join(word if word.isupper() or place == 0 else word.lower() for place, word in enumerate(words.split()))


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "configuration.md": configuration_page}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (REFERENCE / file).write_text(page(), encoding="utf-8")
