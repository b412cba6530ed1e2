"""Every place that prints a command is known, and with it the test in which that command is pasted."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from organism.cli.commands import SECTIONS

ROOT = Path(__file__).parents[3] / "organism"
VERBS = {name for section in SECTIONS.values() for each in section for name in (each.name, *each.aliases)}
WRITTEN = re.compile(r"\borganism ([a-z][a-z-]*)")

TABLE, ADVICE, PROGRAMS = "cli/app/test_advice_table.py", "cli/app/test_advice.py", "cli/app/test_advice_programs.py"
PASTED = {
    "budget/guards/freezes.py": {"unfreeze": TABLE},
    "budget/relief.py": {"budget": TABLE},
    "cli/client.py": {"daemon": TABLE},
    "cli/commands/cluster.py": {"cluster": "cli/test_cluster.py", "reload": "cli/programs/test_dev_cluster.py"},
    "cli/commands/exec.py": {"exec": PROGRAMS, "token": PROGRAMS},
    "cli/commands/remote/budget.py": {"budget": TABLE},
    "cli/commands/remote/send.py": {"approvals": ADVICE, "budget": ADVICE, "thread": ADVICE},
    "cli/commands/remote/status.py": {"approvals": TABLE, "exporters": PROGRAMS},
    "cli/commands/remote/threads.py": {"approvals": ADVICE},
    "cli/commands/remote/tokens.py": {"budget": TABLE},
    "cli/commands/run.py": {"resume": ADVICE},
    "cli/ledger_sources.py": {"cluster": "cli/test_cluster.py"},
    "cli/options.py": {"run": "cli/app/test_standard_input.py"},
    "cli/programs/dev_cluster.py": {"cluster": "cli/programs/test_dev_cluster.py"},
    "cli/programs/session.py": {"budget": PROGRAMS, "usage": PROGRAMS},
    "config/starter.py": {"check": "cli/test_init.py", "run": "cli/test_init.py"},
    "config/yaml/nodes.py": {"init": TABLE},
    "daemon/state_folder.py": {"stop": TABLE, "send": TABLE},
    "gateway/exhausted.py": {"approvals": PROGRAMS},
    "ledger/entries.py": {"ledger": TABLE},
    "ledger/ledger.py": {"ledger": TABLE},
    "ledger/verify.py": {"ledger": "cli/test_ledger.py"},
    "providers/model_files.py": {"models": PROGRAMS},
    "runtime/handlers/loop_breakers.py": {"unpause": TABLE},
    "stores/reading.py": {"ledger": TABLE},
    "stores/sqlite_errors.py": {"ledger": TABLE},
    "threads/quarantine.py": {"ledger": TABLE},
}
"""By file: the first word of each command that it prints, and where that is run as it stands."""

NO_ADVICE = {
    ("cli/commands/remote/top.py", "top"),
    ("cli/programs/upstreams.py", "exec"),
    ("control/accounts.py", "thread"),
}
"""Names of a command that say where something came from, or mean something else."""


def docstrings(tree: ast.AST) -> set[int]:
    """Return the ids of texts that nobody is shown."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def words_of(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def verbs_in(tree: ast.AST) -> Iterator[str]:
    """Yield the first words of commands: in texts, in lists of words, and where the command line puts one together."""
    unseen = docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in unseen:
            yield from WRITTEN.findall(words_of(node))
        elif isinstance(node, ast.Tuple | ast.List) and len(node.elts) > 1:
            called = isinstance(node.elts[0], ast.Call) and ast.unparse(node.elts[0]) == "called_as()"
            if called or words_of(node.elts[0]) == "organism":
                yield words_of(node.elts[1])
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith((".command", "command_text")):
            first = node.args[0]
            yield words_of(first.elts[0] if isinstance(first, ast.Tuple) else first)


def test_every_printed_command_is_pasted_in_a_test() -> None:
    """A new one is to be run as it is printed, in a test that is named here."""
    found = {
        (file.relative_to(ROOT).as_posix(), verb)
        for file in sorted(ROOT.rglob("*.py"))
        for verb in verbs_in(ast.parse(file.read_text(encoding="utf-8")))
        if verb in VERBS
    }

    assert found - NO_ADVICE == {(file, verb) for file, verbs in PASTED.items() for verb in verbs}


def test_the_tests_that_are_named_are_there() -> None:
    """Who moves one says so here."""
    named = {place for verbs in PASTED.values() for place in verbs.values()}
    assert [place for place in sorted(named) if not (ROOT.parent / "tests" / place).is_file()] == []
