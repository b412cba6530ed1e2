"""How a name leads to routes: by itself, or by the longest pattern that stands for it."""

from typing import Any

import pytest

from organism.errors import ConfigError
from organism.router.planning.plan import ModelPlans, model_plan

PLANS = ModelPlans(
    {
        name: model_plan(name, route)
        for name, route in {
            "main": "double/m",
            "claude-*": "anthropic/claude-*",
            "claude-haiku-*": "cheap/haiku",
            "double/*": "double/*",
        }.items()
    }
)


@pytest.mark.parametrize(
    ("asked", "route"),
    [
        ("main", "double/m"),
        ("claude-sonnet-4-5", "anthropic/claude-sonnet-4-5"),
        ("claude-", "anthropic/claude-"),
        ("claude-haiku-4-5", "cheap/haiku"),
        ("double/a/b", "double/a/b"),
    ],
)
def test_name_goes_by_itself_or_by_the_longest_pattern(asked: str, route: str) -> None:
    """The plan is named as it was asked for, and what the star stands for is in its route."""
    plan = PLANS[asked]
    assert (plan.name, f"{plan.routes[0].provider}/{plan.routes[0].model}") == (asked, route)


@pytest.mark.parametrize("asked", ["gpt-4o", "claude", "claude-*", "*", "", "claude-" + "x" * 200])
def test_what_no_pattern_stands_for_is_no_model(asked: str) -> None:
    """A pattern itself is no name, and a name has an end."""
    assert asked not in PLANS


def test_patterns_are_not_listed() -> None:
    """What can be named one by one is; what a pattern stands for has no end."""
    assert list(PLANS) == ["main"]
    assert len(PLANS) == 1


@pytest.mark.parametrize("model", [["a/b", "c/d"], ("a", "b"), 5, None, "a", "a/", "/b", ""])
def test_model_that_is_no_text_of_provider_and_model_is_named(model: Any) -> None:
    """A list of routes, too: it says how one is written, and for what."""
    with pytest.raises(ConfigError, match="'main' must be given as 'provider/model'"):
        model_plan("main", model)
