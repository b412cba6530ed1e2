"""Paths that lead out: whatever is asked for, no file is opened but those of the program."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

import organism
from tests.api.conftest import TOKEN, serve

pytestmark = pytest.mark.anyio

Record = Callable[[str, object], None]
Served = Callable[..., AbstractAsyncContextManager[Any]]
STEPS = ("..", "%2e%2e", ".%2e", "%2e%2e%2f", "..%5c", "%00", "%252e%252e", "..;", "....//")
TARGETS = ("etc/passwd", "tokens.json", "token", "journal.db")
ROUTES = (
    "/dashboard/",
    "/dashboard/assets/",
    "/v1/threads/",
    "/v1/agents/",
    "/v1/dead-letters/",
    "/v1/tokens/",
    "/",
    "//",
)
OURS = (Path(organism.__file__).parent.as_posix(), sys.prefix, sys.base_prefix)

_opened: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _opened is not None and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)


async def test_no_path_leads_to_a_file_of_others(record_property: Record) -> None:
    """Every route with every way up and out is a refusal, or what it is anyway, and opens nothing else."""
    global _opened  # noqa: PLW0603 - an audit hook cannot be taken off again
    answers = []
    async with serve() as (_, client):
        await client.get("/v1/status")
        _opened = []
        try:
            for route in ROUTES:
                for step in STEPS:
                    for target in TARGETS:
                        for path in (f"{route}{step}/{target}", f"{route}{step}/{step}/{step}/{target}"):
                            answer = await client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
                            answers.append((path, answer.status_code, answer.content))
            opened = list(_opened)
        finally:
            _opened = None

    outside = [path for path in opened if not path.startswith(OURS)]
    record_property("files opened outside", len(outside))
    assert outside == []
    assert [path for path, status, body in answers if status < 400 or b"root:" in body] == []
    assert len(answers) == len(ROUTES) * len(STEPS) * len(TARGETS) * 2
