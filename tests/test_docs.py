"""The documents and the examples do what they say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from organism.config.load import parse_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """Return the code below a marker."""
    found = re.search(rf"<!-- {marker} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert found is not None, marker
    return found[1]


def run_python(*arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_readme_yaml_is_right_and_short() -> None:
    """The first screen's organism.yaml loads as it stands."""
    text = block("yaml")

    assert len(text.splitlines()) <= 11
    assert parse_config(text, "README.md", ROOT, {}).config.entry == "planner"


def test_readme_routes_are_right() -> None:
    """The README's example of several providers is a configuration that loads."""
    rest = "name: r\nentry: writer\nagents:\n  writer: {model: main}\n"
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}

    assert parse_config(block("routes") + rest, "README.md", ROOT, keys).config.limits.providers["openai"].per == "day"


def test_readme_python_runs() -> None:
    """The README's program runs as it stands."""
    assert run_python("-c", block("python")) == "the tide comes in (7 tokens)\n"


PROGRAMS = [
    "tutorials/python",
    *(
        f"how-to/{page}"
        for page in ("embed-an-organism", "ask-a-person", "budget-children", "limit-tenants", "autogen")
    ),
]


@pytest.mark.parametrize("page", PROGRAMS)
def test_tutorials_run(page: str) -> None:
    """The first program of a tutorial runs as it stands."""
    program = re.search(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), re.DOTALL)

    assert program is not None
    assert run_python("-c", program[1]).strip()


@pytest.mark.parametrize("page", ["migrate-from-litellm", "pydantic-ai-limits", "autogen"])
def test_configurations_of_how_tos_load(page: str) -> None:
    """Every organism.yaml of a page about moving here is a configuration that loads."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    keys = {"OPENAI_API_KEY": "k", "ALICE_KEY": "a key of sixteen and more characters"}
    assert blocks
    for each in blocks:
        assert parse_config(each, page, ROOT, keys).config.entry == "writer"


def test_readme_commands_are_one_line_each() -> None:
    """One command runs the main job, one runs the tests."""
    assert len(block("run").splitlines()) == len(block("test").splitlines()) == 1


@pytest.mark.parametrize("example", ["embed", "test_your_agents", "usage_events"])
def test_examples_run(example: str) -> None:
    """Each example runs and says something."""
    assert run_python(f"examples/{example}.py").strip()


def test_relative_links_lead_somewhere() -> None:
    """No document links to a file that is not there."""
    for page in [ROOT / "README.md", *ROOT.glob("[CS]*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_import_is_light() -> None:
    """``import organism`` loads no SDK, no server and no model."""
    heavy = ["openai", "anthropic", "xllamacpp", "litestar", "uvicorn", "pydantic", "genai_prices", "httpx2"]
    code = f"import sys, organism; print([name for name in {heavy} if name in sys.modules])"

    assert run_python("-c", code) == "[]\n"


def test_readme_tools_are_right(tmp_path: Path) -> None:
    """The README's tools load as they stand, in a file that has the rest."""
    head, _, agents = block("tools").partition("agents:\n")
    models = "llm:\n  providers: {p: {type: scripted, answers: [hi]}}\n  models: {main: p/m}\n"

    loaded = parse_config(f"name: t\nentry: head\n{models}{head}agents:\n{agents}", "README.md", tmp_path, {})

    assert set(loaded.config.agents) == {"head", "writer"}
