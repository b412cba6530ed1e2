"""Commands without a daemon read the configuration once: what they answer is of one reading, not half of each."""

import sys
from pathlib import Path

import pytest

from organism.cli import exit_codes
from organism.cli.app import call

YAML = """\
name: echo
entry: echo
python_path: [.]
agents: {echo: {handler: "named_config_echo:echo"}}
"""
HANDLER = '''\
from organism import Context, Text


async def echo(message: Text, ctx: Context) -> Text:
    """Say it again."""
    return message
'''

_opened: list[str] = []
_listening: list[str] = []


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if _listening and event == "open" and str(arguments[0]) == _listening[0]:
        _opened.append(str(arguments[0]))


@pytest.fixture(scope="module", autouse=True)
def hook() -> None:
    """Hear of every file that is opened; Python has no way to take such a hook back, so it is mute but in the test."""
    sys.addaudithook(_note)


@pytest.mark.parametrize(
    "words",
    ["threads --all", "status", "usage", "usage report", "budget show", "ledger verify", "ledger quarantine"],
)
def test_configuration_is_read_once(words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of the time zone and the database, which both stand in it."""
    (tmp_path / "named_config_echo.py").write_text(HANDLER)
    file = tmp_path / "organism.yaml"
    file.write_text(YAML)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call(["run", "hi", "--file", str(file)]) == exit_codes.OK
    _opened.clear()
    _listening.append(str(file))
    try:
        assert call([*words.split(), "--file", str(file)]) == exit_codes.OK
    finally:
        _listening.clear()
    assert _opened == [str(file)]
