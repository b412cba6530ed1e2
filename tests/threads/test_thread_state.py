"""A thread's state changes as its table says, in one place, and as the documentation draws it."""

import ast
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from organism.threads.thread import Origin, Thread
from organism.threads.thread_state import (
    LIVE,
    RECOVERED_AS,
    STOPPING,
    TRANSITIONS,
    IllegalTransitionError,
    ThreadEvent,
    ThreadStatus,
    diagram,
)

ROOT = Path(__file__).parents[2]
STATES: tuple[ThreadStatus, ...] = get_args(ThreadStatus)
EVENTS: tuple[ThreadEvent, ...] = get_args(ThreadEvent)


@pytest.mark.parametrize(("status", "event"), list(product(STATES, EVENTS)))
def test_only_moves_of_the_table_are_made(status: ThreadStatus, event: ThreadEvent) -> None:
    """Each event leads where the table says; any other raises, names thread, state and event, and changes nothing."""
    thread = Thread(
        id="t", root="t", parent=None, depth=0, entry="a", labels={}, origin=Origin(opened_ns=0), status=status
    )
    after = TRANSITIONS.get((status, event))
    if after is not None:
        thread.move(event)
        assert thread.status == after
        return
    with pytest.raises(IllegalTransitionError, match=f"'t' is {status}.*'{event}'"):
        thread.move(event)
    assert thread.status == status


def test_a_closing_thread_is_never_revived() -> None:
    """Nothing leads out of ``closing``, and every state leads into it: a thread can always be ended, once."""
    assert not [event for status, event in TRANSITIONS if status == "closing"]
    assert all(TRANSITIONS[status, "close"] == "closing" for status in STATES if status != "closing")


def test_every_state_is_known_to_a_recovery_and_to_the_groups() -> None:
    """A state that is added later cannot be forgotten where threads are recovered or asked what they take."""
    assert set(RECOVERED_AS) == set(STATES)
    assert set(STATES) == LIVE | STOPPING
    assert not LIVE & STOPPING


def test_the_documentation_draws_the_table() -> None:
    """The diagram in ARCHITECTURE.md is the table's."""
    assert f"```mermaid\n{diagram()}\n```" in (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")


def test_status_is_assigned_in_one_place() -> None:
    """No module sets a thread's state by itself: that would go round the table."""
    rooms = [ROOT / "organism" / room for room in ("runtime", "threads")]
    found = [
        path.name
        for path in sorted(path for room in rooms for path in room.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for written in (node.targets if isinstance(node, ast.Assign) else [])
        for target in ast.walk(written)
        if isinstance(target, ast.Attribute) and target.attr == "status"
    ]
    assert found == ["thread.py", "thread_state.py"]  # the other is an error's attribute
