"""Configurations that are small to write and large to read, or just large: refused before they cost anything."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from organism.config.load import load_config
from organism.errors import ConfigError
from tests.faults.memory import peak_memory

Record = Callable[[str, object], None]

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
BOMBS: dict[str, Callable[[], bytes]] = {
    "aliases of aliases": LAUGHS.encode,
    "a reference to itself": lambda: b"a: &a [*a]\n",
    "a merge of itself": lambda: b"a: &a {<<: *a}\n",
    "five thousand lists": lambda: b"[" * 5_000,
    "five thousand mappings": lambda: b"{a: " * 5_000,
    "seven hundred levels of lines": lambda: "".join(f"{' ' * n}a:\n" for n in range(700)).encode(),
    "a hundred thousand values": lambda: b"a: [" + b"1," * 100_000 + b"]",
    "fifteen thousand keys": lambda: b"".join(b"k%d: 1\n" % n for n in range(15_000)),
    "a hundred megabytes": lambda: b"a: " + b"x" * 100_000_000,
    "an object of Python": lambda: b"a: !!python/object/apply:os.system ['true']\n",
    "a key of a thousand lists": lambda: b"? " + b"[" * 1_000 + b"]" * 1_000 + b"\n: 1\n",
}


@pytest.mark.parametrize("what", BOMBS)
def test_bomb_is_refused_before_it_goes_off(what: str, tmp_path: Path, record_property: Record) -> None:
    """Whatever it would become, it is refused in a moment, and less memory is taken than a configuration may have."""
    path = tmp_path / "organism.yaml"
    path.write_bytes(BOMBS[what]())
    path.chmod(0o600)
    began = time.process_time()
    with (
        peak_memory() as peak,
        pytest.raises(
            ConfigError, match=r"unknown key 'a0?'|nested deeper than 32|larger than 256 KiB|a key must be text"
        ),
    ):
        load_config(path, {})

    record_property("refused in s", round(time.process_time() - began, 3))
    record_property("memory in MiB", peak.mib)
    record_property("accepted", 0)
    assert peak.mib <= 32
