"""What ``organism init`` writes works at once: each template is right, and its own tests pass."""

import resource
import runpy
import shlex
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from organism.cli import exit_codes
from organism.cli.app import call
from organism.cli.commands.init import init
from organism.config.load import load_config
from organism.config.starter import NEXT_STEPS, TEMPLATES, template_files


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_is_right_and_its_own_tests_pass(
    template: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer's first test run is green, in the folder as it was written."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    assert call(["init", "--template", template]) == 0
    monkeypatch.syspath_prepend(str(tmp_path))
    (file,) = tmp_path.glob("test_*.py")

    try:
        tests = {name: test for name, test in runpy.run_path(str(file)).items() if name.startswith("test_")}
        for test in tests.values():
            test()
    finally:
        for name in set(sys.modules) - before:
            if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
                del sys.modules[name]
    assert tests


@pytest.mark.parametrize("template", [name for name in TEMPLATES if "organism.yaml" in template_files(name)])
def test_example_of_the_environment_names_all_that_the_file_needs(template: str, tmp_path: Path) -> None:
    """Copied to .env as the first step says, it is enough for the file to load."""
    assert call(["init", str(tmp_path), "--template", template]) == 0
    lines = (tmp_path / ".env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    load_config(tmp_path / "organism.yaml", {name: value or "made up" for name, value in given.items()})


@pytest.mark.parametrize("name", ["demo", "my demo"])
def test_commands_that_come_next_begin_where_the_user_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They work when pasted: the first goes into the new folder, whatever its name."""
    monkeypatch.chdir(tmp_path)

    assert call(["init", name]) == 0

    _, *steps = capsys.readouterr().out.splitlines()
    assert [step.strip() for step in steps] == [f"cd {shlex.quote(name)}", *NEXT_STEPS["team"]]
    monkeypatch.chdir(tmp_path / shlex.split(steps[0])[1])
    assert call(shlex.split(steps[1])[1:]) == 0


def test_what_git_leaves_out_is_written_but_not_over_a_projects_own(tmp_path: Path) -> None:
    """Keys and the journal stay out of version control; a .gitignore that was there is not touched."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / ".gitignore").write_text("mine\n")

    assert call(["init", str(tmp_path / "new")]) == call(["init", str(tmp_path / "old")]) == 0

    assert {".env", ".organism/"} <= set((tmp_path / "new" / ".gitignore").read_text().splitlines())
    assert (tmp_path / "old" / ".gitignore").read_text() == "mine\n"


@pytest.mark.parametrize("room", [0, 500, 20_000], ids=["none", "for the first", "for most"])
@pytest.mark.parametrize("there", [(), ("mine.txt", ".gitignore")], ids=["fresh", "in use"])
def test_without_room_nothing_is_left_behind(
    there: tuple[str, ...], room: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second try begins where the first did: no half of an organism, and nothing that was there is gone."""
    folder = tmp_path / "a" / "demo"
    for name in there:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine\n")
    before = sorted(tmp_path.rglob("*"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))  # a file that may not grow fails as a full disk does
    try:
        code = call(["init", str(folder), "--force"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert (code, capsys.readouterr().err) == (
        exit_codes.USAGE,
        f"organism: {folder}: cannot be written: File too large\n",
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert [(folder / name).read_text() for name in there] == ["mine\n" for _ in there]
    assert call(["init", str(folder), "--force"]) == exit_codes.OK


def test_folder_in_the_place_of_a_file_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--force overwrites files only."""
    (tmp_path / "organism.yaml").mkdir()

    assert call(["init", str(tmp_path), "--force"]) == exit_codes.USAGE

    assert capsys.readouterr().err == f"organism: {tmp_path}: cannot be written: organism.yaml is a folder\n"
    assert [path.name for path in tmp_path.iterdir()] == ["organism.yaml"]


def test_what_is_not_the_starter_s_is_neither_overwritten_nor_written_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of other names stay, links to elsewhere lead nobody there, and one to nowhere is something that is here."""
    folder, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.write_text("mine\n")
    (folder / "my_agents.py.new").write_text("mine\n")
    (folder / "organism.yaml.new").symlink_to(elsewhere)

    assert call(["init", str(folder)]) == exit_codes.OK

    assert (folder / "my_agents.py.new").read_text() == elsewhere.read_text() == "mine\n"
    assert not [path for path in folder.iterdir() if path.is_dir()]
    (folder / "organism.yaml").unlink()
    (folder / "organism.yaml").symlink_to(tmp_path / "nowhere")
    assert call(["init", str(folder)]) == exit_codes.USAGE
    assert "already here: .env.example, my_agents.py, organism.yaml" in capsys.readouterr().err
    assert (folder / "organism.yaml").is_symlink()


def test_every_template_can_be_asked_for() -> None:
    """The command line offers exactly those that there are."""
    assert get_args(get_type_hints(init)["template"]) == TEMPLATES == tuple(NEXT_STEPS)
