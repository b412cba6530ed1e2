"""Tools of servers get names that every vendor takes, each its own, whatever the servers call them."""

import random
import re

import pytest

from organism.agents.tools.tool_names import tool_names

LONG = "read_the_item_by_its_identifier_api_v1_items_item_id_detail_full_"


@pytest.mark.parametrize(
    ("wanted", "taken", "kept"),
    [
        ([("s", "add")], (), ["s_add"]),
        ([("s", "docs.getText")], (), ["s_docs_getText"]),
        ([("s", "docs.getText"), ("s", "docs_getText")], (), [None, "s_docs_getText"]),
        ([("s", "docs.getText"), ("s", "docs/getText")], (), [None, None]),
        ([("s", LONG + "get"), ("s", LONG + "put")], (), [None, None]),
        ([("s", "データ"), ("s", "取得す"), ("s", "")], (), [None, None, "s_"]),
        ([("a", "b_c"), ("a_b", "c")], (), [None, None]),
        ([("s", "add")], ("s_add",), [None]),
        ([("s", "get.x"), ("s", "get x"), ("s", "\ud800")], ("s_get_x",), [None, None, "s__"]),
    ],
)
def test_names_are_clean_and_each_its_own(
    wanted: list[tuple[str, str]], taken: tuple[str, ...], kept: list[str | None]
) -> None:
    """A name that is right stays; those that would meet are told apart, in whatever order they are listed."""
    names = tool_names(wanted, taken)

    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert len({*names, *taken}) == len(names) + len(taken)
    for name, expected in zip(names, kept, strict=True):
        assert expected in (None, name)
    assert dict(zip(reversed(wanted), tool_names(wanted[::-1], taken), strict=True)) == dict(
        zip(wanted, names, strict=True)
    )


def test_many_names_at_random_never_meet() -> None:
    """Many names of few letters, which all but meet, are told apart."""
    chance = random.Random(7)
    pairs = {
        (chance.choice(["s", "s_a"]), "".join(chance.choices("a._/é", k=chance.randrange(7)))) for _ in range(4000)
    }
    names = tool_names(sorted(pairs))

    assert len(set(names)) == len(pairs) > 1500


def test_same_tool_twice_is_the_same_name_twice() -> None:
    """Naming one tool twice is a mistake that only its maker can mend, so it is not hidden by another name."""
    assert tool_names([("s", "add"), ("s", "add")]) == ["s_add", "s_add"]
