"""What stands where a file is expected: each is read, or is an error in words, and none is waited for without end."""

import os
import socket
import threading
from pathlib import Path

import pytest

from organism import ConfigError
from organism.cli.event_sources import recorded_events
from organism.config import file_reading
from organism.config.load import load_config
from organism.config.price_section import load_prices
from organism.daemon.file_safety import refuse_foreign_file

GOOD = """
name: x
entry: a
limits: {thread: {tokens: 1000}}
llm:
  providers: {s: {type: scripted, answers: [hi]}}
  models: {m: s/x}
agents:
  a: {model: m, system: hi}
"""


def put(kind: str, path: Path) -> None:
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
        case "terminal":
            path.symlink_to("/dev/ptmx")
        case "socket":
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(str(path))
        case "link to itself":
            path.symlink_to(path.name)


KINDS = {
    "pipe": "nobody has written to it",
    "folder": "it is a folder",
    "device": "it is a device",
    "terminal": "it is a device",
    "socket": "it is a socket",
    "link to itself": "cannot be read|no such file",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_an_error_in_words(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody writes to, a device without end: named at once, wherever a file is named."""
    monkeypatch.setattr(file_reading, "_SILENT_S", 0.05)
    path = tmp_path / "x.yaml"
    put(kind, path)
    refuse_foreign_file(path)  # it advises no chmod of a device
    for read in (
        lambda: load_config(path, {}),
        lambda: load_prices(path),
        lambda: list(recorded_events(path, tmp_path)),
    ):
        with pytest.raises(ConfigError, match=KINDS[kind]):
            read()


def test_pipe_that_is_written_to_is_read(tmp_path: Path) -> None:
    """The shell's ``<(...)`` is a file like any other."""
    path = tmp_path / "x.yaml"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(GOOD,))
    writer.start()
    assert load_config(path, {}).config.name == "x"
    writer.join()


def test_certificates_that_are_no_file_are_named(tmp_path: Path) -> None:
    """The TLS library would wait for a pipe."""
    os.mkfifo(tmp_path / "ca.pem")
    server = "t: {type: openai, base_url: 'https://127.0.0.1:1/v1', ca_file: ca.pem}"
    (tmp_path / "organism.yaml").write_text(GOOD.replace("answers: [hi]}", "answers: [hi]}, " + server))
    from organism import Organism

    with pytest.raises(ConfigError, match="ca_file names no certificates that can be read: it is no file"):
        Organism.from_config(load_config(tmp_path / "organism.yaml", {}), {})
