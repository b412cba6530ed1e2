"""How deep and how crowded JSON is, told before any parser sees it."""

import pytest

from organism.api.json_limits import deeper_than, more_values_than


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        ("[" * 32 + "]" * 32, False),
        ("[" * 33, True),
        ('"' + "[" * 99 + '"', False),
        ('"\\"' + "[" * 99, True),
        ('{"a\\\\": ' * 33 + "1" + "}" * 33, True),
        ("[]" * 99, False),
    ],
    ids=["at the bound", "above", "in a string", "string without an end", "after an escape", "side by side"],
)
def test_depth_counts_brackets_outside_of_strings(text: str, deep: bool) -> None:
    """Nesting is bounded before any parser sees it; brackets in texts are text."""
    assert deeper_than(text.encode(), 32) is deep


@pytest.mark.parametrize(
    ("text", "crowded"),
    [
        ("[" + "1," * 30 + "1]", False),
        ("[" + "1," * 32 + "1]", True),
        ("[{" + "},{" * 20 + "}]", True),
        ("[" * 33, True),
        ('["' + "a, [b], {c}" * 99 + '"]', False),
        ('["' + 'he said \\"no\\", ' * 99 + '"]', False),
        ('"a"' * 33, True),
    ],
    ids=["few", "numbers", "objects", "lists in lists", "commas in a text", "quotes in a text", "strings"],
)
def test_values_are_counted_outside_of_strings(text: str, crowded: bool) -> None:
    """A long text is one value, whatever stands in it; many small values are many."""
    assert more_values_than(text.encode(), 32) is crowded
