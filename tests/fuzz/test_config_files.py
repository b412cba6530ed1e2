"""Configurations that nobody would write: refused with file and line, or an organism; never a crash or a long wait."""

import random
from pathlib import Path

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.config_files import faults_of, some_config

pytestmark = pytest.mark.anyio


async def test_configuration_is_refused_with_its_line_or_is_one(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Made from the schema, then broken as values, as YAML and as bytes: every mistake has a line, none is a crash."""

    async def one(chance: random.Random) -> list[str]:
        text = some_config(chance)
        return [f"{fault}\n{text[:3000]}" for fault in faults_of(text, tmp_path)]

    outcome = await campaign("config", one, pytestconfig.getoption("seed"), pytestconfig.getoption("fuzz"))
    assert not outcome.found, outcome.told
