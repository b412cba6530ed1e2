"""What strangers' errors and values say is shown, whatever they do when they are asked for it."""

import pytest

from organism import ConfigError, Limits
from organism.text.error_text import TEXT_MAX, describe, raised_at, shown


class Raises(Exception):  # noqa: N818 - a stranger's
    """An error that cannot be shown."""

    def __init__(self, raised: BaseException) -> None:
        self.raised = raised

    def __str__(self) -> str:
        raise self.raised

    __repr__ = __str__


class NoText(Exception):  # noqa: N818
    """An error whose text is no text."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("no"), "ValueError: no"),
        (ConfigError("no"), "no"),
        (Raises(RuntimeError("x")), "Raises: (what it says cannot be shown: RuntimeError)"),
        (Raises(SystemExit(1)), "Raises: (what it says cannot be shown: SystemExit)"),
        (Raises(RecursionError()), "Raises: (what it says cannot be shown: RecursionError)"),
        (NoText(), "NoText: (what it says cannot be shown: TypeError)"),
        (ValueError("a\ud800b"), "ValueError: a\\ud800b"),
        (BaseExceptionGroup("g", [SystemExit(3), ValueError("x")]), "SystemExit: 3; ValueError: x"),
        (BaseExceptionGroup("g", [Raises(ValueError())]), "Raises: (what it says cannot be shown: ValueError)"),
    ],
)
def test_every_error_can_be_described(error: BaseException, says: str) -> None:
    """An error is described in text that every encoding holds, also when its own text raises."""
    assert describe(error) == says
    describe(error).encode()


def test_a_description_is_never_long() -> None:
    """Megabytes of text in an error, or thousands of errors in a group, are cut."""
    assert len(describe(ValueError("x" * 10_000_000))) < TEXT_MAX + 100
    group: BaseException = ValueError("x")
    for _ in range(500):
        group = BaseExceptionGroup("g", [group] * 3)
    assert len(describe(group)) < TEXT_MAX + 100


@pytest.mark.parametrize(
    "value",
    [10**5000, Raises(ValueError()), "\ud800", object(), "x" * 1000],
    ids=["huge", "raises", "half", "object", "long"],
)
def test_every_value_can_be_shown(value: object) -> None:
    """A value of which an error speaks is shown in few characters, also when its `repr` raises."""
    assert len(shown(value)) < 200
    shown(value).encode()


def test_an_error_is_placed_where_its_author_can_mend_it() -> None:
    """The place of an error raised inside of a library or of organism is the line that called it."""
    with pytest.raises(ConfigError) as caught:
        Limits(tokens=-1)
    assert raised_at(caught.value) == f"{__file__}:{caught.traceback[0].lineno + 1}"


@pytest.mark.parametrize("wrong", [10 / 4, True, -1, 2**63, "5", float("nan"), float("inf"), [1]])
@pytest.mark.parametrize("unit", ["tokens", "cost_nanousd", "elapsed_ns", "calls"])
def test_a_limit_is_a_whole_number(unit: str, wrong: object) -> None:
    """What is no integer that the ledger can hold is refused where it is written."""
    with pytest.raises(ConfigError, match="whole number"):
        Limits(**{unit: wrong})  # type: ignore[arg-type]
