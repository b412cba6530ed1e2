"""What a shell completes: names of the organism in this folder, and nothing where there is none."""

from pathlib import Path

import pytest

from organism.cli.app import call

FILE = """
name: house
entry: planner
llm: {providers: {local: {type: local}}, models: {small: local/smollm2-135m, large: local/smollm2-135m}}
agents: {planner: {model: small, system: Plan.}, writer: {model: large, system: Write.}}
"""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["run", "--to", ""], {"planner", "writer"}),
        (["send", "hello", "--to", ""], {"planner", "writer"}),
        (["ask", "hello", "--to", ""], {"planner", "writer"}),
        (["prices", ""], {"small", "large"}),
        (["thread", ""], set()),
        (["budget", "show", ""], set()),
    ],
)
def test_names_of_the_configuration_are_completed(
    words: list[str],
    names: set[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Agents and models come of organism.yaml; threads of the daemon, and without one none and no error."""
    (tmp_path / "organism.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    assert call(["__complete", *words]) == 0
    told = capsys.readouterr()
    lines = {line.split("\t")[0] for line in told.out.splitlines()}
    assert names <= lines
    assert "Traceback" not in told.err
    if not names:
        assert not lines & {"planner", "writer", "small", "large"}
