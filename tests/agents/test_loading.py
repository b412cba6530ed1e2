"""Modules of handlers that do not import: an error in words, whatever they raise and however it shows itself."""

import sys
from pathlib import Path

import pytest

from organism import ConfigError
from organism.agents.loading import load

UNSHOWN = "class Odd({kind}):\n    def __str__(self): raise SystemExit(3)\nraise Odd"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt when imported"),
        ("raise GeneratorExit", "raised GeneratorExit when imported"),
        ("raise SystemExit(UnicodeError())", "raised SystemExit when imported"),
        ("import asyncio; raise asyncio.CancelledError", "raised CancelledError when imported"),
        (UNSHOWN.format(kind="Exception"), "raised Odd when imported: .what it says cannot be shown: SystemExit"),
        (UNSHOWN.format(kind="ImportError"), "does not import: .what it says cannot be shown: SystemExit"),
        (UNSHOWN.format(kind="BaseException"), "raised Odd when imported: .what it says cannot be shown: SystemExit"),
        ("raise ValueError('x' * 10_000_000)", r"xx \[cut\]"),
        ("def __getattr__(name): raise SystemExit(4)", "does not give 'handler': SystemExit: 4"),
        ("def __dir__(): raise SystemExit(5)", "has no 'handler'"),
        ("\n\nraise ValueError('no')", r"when imported: no \(.*:3\)"),
    ],
)
def test_module_that_cannot_be_used_says_why(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception of a stranger's ends the process, or hides what it is about."""
    name = f"odd_{tmp_path.name}".replace("[", "").replace("]", "")
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=said) as caught:
        load(f"{name}:handler")
    assert name in str(caught.value)
    sys.modules.pop(name, None)
