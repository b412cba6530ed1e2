"""JSON that a stranger wrote: nothing of it becomes a number that none is."""

import pytest

from organism.formats.json_reading import loads


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("9" * 19, "9" * 19),
        ("-" + "9" * 18, "-" + "9" * 18),
        ("9" * 5_000, "9" * 5_000),
        ("123456789012345678", 123_456_789_012_345_678),
        ("-5", -5),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_number_stays_recognisable(raw: str, value: object) -> None:
    """Constants that JSON has not, and numbers longer than any count, come as the text that they are."""
    assert loads(raw) == value
    assert loads(f'{{"tokens": [{raw}]}}') == {"tokens": [value]}


def test_nesting_without_end_is_an_error_of_ours() -> None:
    """Brackets by the hundred thousand end no reader."""
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 200_000)
