"""Configurations that nobody would write: made from the schema, then broken as values, as YAML and as bytes."""

# ruff: noqa: E501 - a row of a table on a line

import json
import random
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from organism import Organism
from organism.config.build.exporters import exports
from organism.config.describe import describe_agents, describe_graph, describe_models, describe_providers
from organism.config.json_schema import SHIPPED
from organism.config.load import parse_config
from organism.daemon.gateway_settings import gateway_settings
from organism.errors import OrganismError
from tests.fuzz.junk import Json, broken, damaged, some_junk

SCALARS = (
    "main", "fake/any", "writer", "organism", "a.b:c", "10", "0.5", "off", "unlimited", "$5", "5 usd", "30s", "90%", "1h",
    "12:30", "010", "1_000", "1e3", ".inf", "no", "~", "${env:X}", "${env:MISSING}", "2026-02-30", "Europe/Berlin",
    "http://localhost:1", "sk-0123456789abcdefghijkl", "*", "day", "../..", "x" * 70, "\u202e",
)  # fmt: skip
NAMES = ("main", "writer", "fake", "a", "critic", "none", "*", "organism", "x y", "é")
BASE: Json = {
    "name": "good",
    "entry": "writer",
    "llm": {"providers": {"fake": {"type": "scripted", "answers": ["hi"]}}, "models": {"main": "fake/any"}},
    "agents": {"writer": {"model": "main"}, "critic": {"model": "main", "next": "writer"}},
}
LINES = (
    "&a",
    "*a",
    "!!python/object:os.system x",
    "<<: *a",
    "- ",
    "? [a]",
    "---",
    "...",
    "%YAML 1.1",
    "\t",
    "a: b: c",
    "'",
)


@cache
def schema() -> Json:
    """Return the schema that is shipped."""
    return dict(json.loads(SHIPPED.read_text(encoding="utf-8")))


def some_value(node: Json, chance: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911 - one for each type
    """Return a value that a node of the schema may admit."""
    if "$ref" in node:
        node = schema()["$defs"][node["$ref"].rpartition("/")[2]]
    if (options := node.get("anyOf") or node.get("oneOf")) is not None:
        return some_value(chance.choice(options), chance, depth)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return chance.choice(node["enum"])
    match node.get("type"):
        case "object":
            return _some_object(node, chance, depth)
        case "array":
            return [some_value(node.get("items", {}), chance, depth + 1) for _ in range(chance.randrange(3))]
        case "integer" | "number":
            return chance.choice((0, 1, 2, 10, 1000, 10**9, 0.5, -1))
        case "boolean":
            return chance.choice((True, False, "yes"))
        case "null":
            return None
        case _:
            return chance.choice(SCALARS)


def _some_object(node: Json, chance: random.Random, depth: int) -> Json:
    known, required = node.get("properties", {}), node.get("required", [])
    share = 0.5 if depth > 1 else 0.3
    kept = [name for name in known if name in required or (depth < 7 and chance.random() < share / (1 + depth / 3))]
    found = {name: some_value(known[name], chance, depth + 1) for name in kept}
    if isinstance(more := node.get("additionalProperties"), dict):
        for _ in range(chance.randrange(3)):
            found[chance.choice(NAMES)] = some_value(more, chance, depth + 1)
    return found


def some_config(chance: random.Random) -> str:
    """Return a text."""
    value: Any = dict(BASE)
    properties = schema().get("properties") or schema()["$defs"]["Config"]["properties"]
    for name in chance.sample(list(properties), chance.choice((0, 1, 1, 2, 3))):
        made = some_value(properties[name], chance, 1)
        value[name] = {**value[name], **made} if isinstance(value.get(name), dict) and isinstance(made, dict) else made
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        value = broken(value, chance)
    try:
        text = yaml.safe_dump(
            value, allow_unicode=True, default_flow_style=chance.choice((None, True, False)), width=10**6
        )
    except (yaml.YAMLError, RecursionError):
        text = str(value)
    if chance.randrange(8) == 0:
        lines = text.split("\n")
        lines.insert(chance.randrange(len(lines)), " " * chance.randrange(6) + chance.choice(LINES))
        text = "\n".join(lines)
    if chance.randrange(6) == 0:
        text = damaged(text.encode("utf-8", "surrogatepass"), chance).decode("utf-8", "replace")
    return text if chance.randrange(60) else f"{text}\n{'[' * 5000}{some_junk(chance)}"


def faults_of(text: str, folder: Path) -> Iterator[str]:
    """Say what is wrong with how a configuration is read: refused with its line, or an organism that can be shown."""
    environment = {"X": "10", "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    try:
        loaded = parse_config(text, "organism.yaml", folder, environment)
    except OrganismError as error:
        if "organism.yaml:" not in str(error):
            yield f"refused without a line: {error}"
        if len(str(error)) > 3000:
            yield f"refused with {len(str(error))} characters"
        return
    try:
        gateway_settings(loaded)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            organism = Organism.from_config(loaded, environment)
        exports(loaded, organism.clock.now_ns)
    except OrganismError as error:
        if not str(error).strip():
            yield "refused without a word"
        return
    config = loaded.config
    for told in (describe_agents, describe_models, describe_providers):
        list(told(config))
    describe_graph(config)
