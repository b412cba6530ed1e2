"""The newcomer's walk of the manual is typed anew, and prints what stands in it."""

import re
import shlex
from contextlib import ExitStack
from pathlib import Path

from tests.cli.commands import daemon, organism

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "tutorials/ten-minutes.md").read_text(encoding="utf-8")
OTHER_ELSEWHERE = {
    r"\b(th|msg)_[0-9a-f]{20}": r"\1_ID",
    r"(call\.\d+)\.[0-9a-f]{8}": r"\1.HASH",
    r"\d{4}-\d\d-\d\d": "DAY",
    r"\b\d+\.\d+ s\b": "TIME",
    r"127\.0\.0\.1:\d+": "HERE",
    r"session=[\w-]+": "session=SECRET",
    r"(?m) +$": "",
    r"  +": "  ",
}


def same_everywhere(text: str) -> list[str]:
    """Return lines without what differs from run to run; how wide a column is depends on times in it."""
    for pattern, replacement in OTHER_ELSEWHERE.items():
        text = re.sub(pattern, replacement, text)
    return text.strip().splitlines()


def steps(page: str = PAGE) -> list[tuple[str, str]]:
    """Return the commands of the page, each with what it prints."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL):
        for step in re.split(r"(?m)^\$ ", block)[1:]:
            command, _, printed = step.partition("\n")
            found.append((command, printed))
    return found


def test_the_first_ten_minutes_print_what_the_page_says(tmp_path: Path) -> None:
    """From a file to tenants, an approval, a daemon and a dashboard: every command and every line of it."""
    yaml = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert yaml is not None
    (tmp_path / "organism.yaml").write_text(yaml[1], encoding="utf-8")
    approval = ""
    with ExitStack() as stack:
        for command, printed in steps():
            if command.startswith("organism daemon"):
                stack.enter_context(daemon(tmp_path))
                continue
            arguments = [re.sub(r"^call\.\S+$", approval, word) for word in shlex.split(command)[1:]]
            result = organism(tmp_path, *arguments, COLUMNS="80")
            said = f"{result.stderr}{result.stdout}"
            approval = found[0] if (found := re.findall(r"\bcall\.\d+\.[0-9a-f]{8}", said)) else approval
            assert same_everywhere(said) == same_everywhere(printed), command
    assert len(steps()) == 9


def test_the_recorded_walk_is_of_these_commands_and_takes_ten_minutes_at_most() -> None:
    """What was recorded is what the page says today, up to the dashboard, whose picture is there; no place is in it."""
    walk = (DOCS / "WALKTHROUGH.md").read_text(encoding="utf-8")
    known = {re.sub(r"call\.\d\S+", "QUESTION", command) for command, _ in steps(walk)}
    wanted = [re.sub(r"call\.\d\S+", "QUESTION", command) for command, _ in steps()]
    assert not set(wanted[: wanted.index("organism dashboard") + 1]) - known
    (minutes,) = re.findall(r"\*\*([\d.]+) minutes\*\*", walk)
    assert float(minutes) <= 10
    (picture,) = re.findall(r"!\[.*\]\((.+)\)", walk)
    assert (DOCS / picture).is_file()
    assert not re.search(r"/(?:tmp|work|home)/|\bth_(?!0{10})|\bmsg_(?!0{10})|https?://(?!127)", walk)
