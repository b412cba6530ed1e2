"""What a stranger's code raises can be asked what it is, or is replaced by what can."""

import pytest

from organism import Bounds, Context, Organism, Text, agent
from organism.concurrency.foreign_code import ForeignError, failure_of, tame
from organism.testing import VirtualClock, run
from organism.text.error_text import describe


class AttributesRaiseError(Exception):
    """Whatever is asked of it raises."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class ClassRaisesError(Exception):
    """Its class cannot be asked for."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("no class")


class ClassExitsError(Exception):
    """Who asks for its class would leave the process."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise SystemExit(3)


class PassesForAnotherError(Exception):
    """It says that it is another."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return SystemExit


class _Nameless(type):
    def __getattribute__(cls, name: str) -> object:
        if name == "__name__":
            raise RuntimeError("no name")
        return type.__getattribute__(cls, name)


class NamelessError(Exception, metaclass=_Nameless):
    """Its class has no name."""


WILD = [AttributesRaiseError, ClassRaisesError, ClassExitsError, PassesForAnotherError, NamelessError]
NAMES = ["attributes", "class", "exit", "passes", "nameless"]


@pytest.mark.parametrize("wild", WILD, ids=NAMES)
def test_an_error_that_cannot_be_looked_at_has_another_in_its_place(wild: type[Exception]) -> None:
    """Whoever asks what it is would else get what that raises, in the middle of the handling of a failure."""

    def fails() -> None:
        raise wild

    assert type(failure_of(fails)) is ForeignError
    assert "cannot be looked at" in describe(ExceptionGroup("both", [ValueError("plain"), wild()]))


def test_a_usual_error_is_itself() -> None:
    """Its type, its text and where it was raised are its author's help."""
    error = ValueError("plain")
    error.__cause__ = KeyError("why")
    assert tame(error) is error


@pytest.mark.parametrize("wild", WILD, ids=NAMES)
@pytest.mark.parametrize("plain", [False, True])
def test_a_handler_that_raises_one_costs_its_own_message(wild: type[Exception], plain: bool) -> None:
    """It is a failed run like any other, of a coroutine and of a plain function; everybody else works on."""

    @agent(name="bad")
    async def coroutine(message: Text, ctx: Context) -> None:
        raise wild

    @agent(name="bad")
    def function(message: Text, ctx: Context) -> None:
        raise wild

    @agent
    async def good(message: Text, ctx: Context) -> Text:
        return Text("fine")

    @run
    async def _() -> None:
        bad = function if plain else coroutine
        async with Organism([bad, good], clock=VirtualClock(), bounds=Bounds(attempts=2)) as organism:
            assert "cannot be looked at" in ((await organism.run("go")).reason or "")
            assert (await organism.run("go", to="good")).text == "fine"
