"""Writes the reference pages of the command line, organism.yaml and HTTP: ``python docs/generate_reference.py``.

All are made from what is shipped: the pages of help as the terminal shows them, the JSON Schema that editors use, and
the API's OpenAPI document. A test holds the pages to it.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from organism import Context, Organism, Text, agent
from organism.api.application import build_application, completed_document
from organism.api.routes.openapi_answers import ERROR_ANSWERS, error_answers
from organism.api.tokens.token_book import TokenBook
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


def http_page() -> str:
    """Return the reference of the HTTP API, in Markdown: every route of its OpenAPI document."""
    schema, scopes = _openapi()
    parts = [
        "# HTTP API",
        (
            "Made from the API's own document by `docs/generate_reference.py`; the daemon serves that at "
            "`/v1/schema/openapi.json`, and its dashboard at `/#/api`, where each can be tried. Every request has "
            "`Authorization: Bearer TOKEN`; money is nano-USD and time is "
            "nanoseconds, both as integers. How the API is used is in [Operating](../OPERATING.md); the routes that "
            "speak vendors' formats are in [Gateway](../GATEWAY.md)."
        ),
        "## Errors",
        (
            "An error is one JSON object, `application/problem+json`: `status`, `code` for programs, `title`, `detail` "
            "with what to do, and `request_id`, which names the request in the daemon's log."
        ),
        "\n".join(["| Status | Code | When |", "| --- | --- | --- |", *_error_rows()]),
    ]
    groups: dict[str, list[str]] = {}
    for path, operations in sorted(schema["paths"].items()):
        group = (
            path.removeprefix("/v1/").partition("/")[0].replace("-", " ").capitalize() if "/v1/" in path else "Health"
        )
        for method, operation in operations.items():
            groups.setdefault(group, []).extend(_operation(method, path, operation, scopes, schema))
    for group, lines in groups.items():
        parts += [f"## {group}", *lines]
    return "\n\n".join(parts) + "\n"


def _openapi() -> tuple[dict[str, Any], dict[tuple[str, str], str]]:
    """Return the OpenAPI document of an organism, and the scope that each operation needs."""
    organism = Organism([nobody])
    application = build_application(organism.control, TokenBook(organism.clock.now_ns))
    document = completed_document(application, application.openapi_schema.to_schema())
    scopes = {
        (path, method): each["x-scope"]
        for path, operations in document["paths"].items()
        for method, each in operations.items()
    }
    return json.loads(msgspec.json.encode(document)), scopes


_EVERYWHERE = frozenset(answer.code for answer in error_answers("get", "/v1/", {}))


@agent
async def nobody(message: Text, ctx: Context) -> Text:  # noqa: ARG001 - a handler's signature
    """Be the agent that an organism must have."""
    return message


def _error_rows() -> Iterator[str]:
    for answer in ERROR_ANSWERS:
        yield f"| {answer.status} | `{answer.code}` | {answer.when} |"


def _operation(
    method: str, path: str, operation: dict[str, Any], scopes: dict[tuple[str, str], str], schema: dict[str, Any]
) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    yield " ".join(str(operation.get("description") or operation.get("summary") or "").split()).replace("``", "`")
    scope = scopes[path, method]
    yield "Asks for no token." if scope == "none" else f"Scope: `{scope}`."
    given = [each for each in operation.get("parameters", ()) if each["in"] != "header"]
    if given:
        rows = (
            f"| `{each['name']}` | {each['in']} | {_kind(each['schema'])} | {each.get('description', '')} |"
            for each in given
        )
        yield "\n".join(["| Parameter | In | Type | |", "| --- | --- | --- | --- |", *rows])
    if body := operation.get("requestBody"):
        reference = next(iter(body["content"].values()))["schema"]
        named = schema["components"]["schemas"].get(_name(reference.get("$ref", "")), {})
        fields = [
            f"| `{name}` | body | {_kind(field)} | {field.get('description', '').replace('``', '`')} |"
            for name, field in named.get("properties", {}).items()
        ]
        yield "Body: a JSON object." if fields else "Body: JSON."
        if fields:
            yield "\n".join(["| Field | In | Type | |", "| --- | --- | --- | --- |", *fields])
    own = (each for each in error_answers(method, path, operation) if each.code not in _EVERYWHERE)
    if errors := ", ".join(f"{each.status} `{each.code}`" for each in own):
        yield f"Errors beside those of every route: {errors}."


def _kind(node: dict[str, Any]) -> str:
    """Return the type of a parameter: its values, or what it is."""
    if "oneOf" in node or "anyOf" in node:
        return " or ".join(_kind(each) for each in node.get("oneOf") or node["anyOf"] if each.get("type") != "null")
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"] if value is not None)
    if node.get("type") == "array":
        return f"{_kind(node['items'])}; repeated for several"
    return "object" if "$ref" in node else str(node.get("type", "text"))


PAGES: dict[str, Callable[[], str]] = {"cli.md": cli_page, "configuration.md": configuration_page, "http.md": http_page}

if __name__ == "__main__":
    for file, page in PAGES.items():
        (REFERENCE / file).write_text(page(), encoding="utf-8")
