"""Names that users have in their programs already work for one more release."""

from importlib import import_module

import pytest

from organism.moved import MOVED


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_that_it_stands_for_now(old: str) -> None:
    """An old import gives the very module of the new name, with its own spec, and loads nothing twice."""
    new = import_module(MOVED[old])

    assert import_module(old) is new
    assert new.__spec__ is not None
    assert new.__spec__.name == new.__name__ == MOVED[old]


def test_an_old_name_says_what_it_is_now() -> None:
    """Who uses it is told once, with the new name."""
    with pytest.warns(DeprecationWarning, match=r"organism\.llm"):
        import_module("organism.router.provider").__dict__.get("Completion")


def test_what_never_was_is_not_found() -> None:
    """A mistyped name is the error it always was."""
    with pytest.raises(ModuleNotFoundError, match="nothing_of_the_kind"):
        import_module("organism.runtime.nothing_of_the_kind")
