"""The JSON Schema of organism.yaml for editors, generated from the structs and shipped with the package.

``python -m organism.config.json_schema`` writes the shipped file anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from organism.config.schema.agents import VARIANTS
from organism.config.schema.root import Config
from organism.config.schema.values import Secret

SHIPPED = Path(__file__).with_name("organism.schema.json")


def json_schema() -> dict[str, Any]:
    """Generate the schema."""
    (root,), definitions = msgspec.json.schema_components([Config], schema_hook=_hook)
    for section, shapes in VARIANTS.items():
        _, parts = msgspec.json.schema_components(list(shapes), schema_hook=_hook)
        definitions |= parts
        definitions[section.__name__] = {"anyOf": [{"$ref": f"#/$defs/{shape.__name__}"} for shape in shapes]}
    found = msgspec.json.decode(msgspec.json.encode(definitions, order="sorted"))
    _let_decimals_be_numbers(found)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "organism.yaml",
        **root,
        "$defs": found,
    }


def _hook(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string", "pattern": r"^\$\{env:[A-Za-z_][A-Za-z0-9_]*\}$"}
    raise NotImplementedError(kind)


def _let_decimals_be_numbers(schema: object) -> None:
    """Allow money as a number and as text; JSON Schema's ``format: decimal`` alone would allow only text."""
    for node in _objects(schema):
        if node.get("format") == "decimal":
            del node["format"]
            node["type"] = ["number", "string"]


def _let_values_be_elsewhere(schema: object) -> None:
    """Allow a reference to the environment, with a default or without, in place of a whole number or a boolean."""
    for node in _objects(schema):
        if (kind := node.get("type")) in ("integer", "boolean"):
            bounds = {name: node.pop(name) for name in ("minimum", "maximum") if name in node}
            del node["type"]
            node["anyOf"] = [{"type": kind, **bounds}, {"type": "string", "pattern": r"^\$\{env:"}]


def _objects(node: object) -> Iterator[dict[str, Any]]:
    """Yield each object of a JSON value, those inside of one before it: the caller may add to one it is given."""
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for value in values:
        yield from _objects(value)
    if isinstance(node, dict):
        yield node


def text() -> str:
    """Return the schema as it is shipped."""
    shipped = json_schema()
    _let_values_be_elsewhere(shipped["$defs"])
    return msgspec.json.format(msgspec.json.encode(shipped), indent=1).decode() + "\n"


if __name__ == "__main__":
    SHIPPED.write_text(text(), encoding="utf-8")
