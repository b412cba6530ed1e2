"""The decision whether a call may be made, as one table."""

import pytest

from organism.amounts import AMOUNT_MAX, Amounts, Limits
from organism.budget.policy import Ask, Grant, Headroom, carve, check_correction, decide
from organism.errors import ConfigError, Refusal


def room(account: str = "t", *, spent: int = 0, held: int = 0, elapsed_ns: int = 0, **limits: int) -> Headroom:
    return Headroom(account, Limits(**limits), Amounts(spent, spent, spent), Amounts(held, held, held), elapsed_ns)


ASK = Ask(input_tokens=10, output_cap=20, output_min=5)
PRICED = Ask(input_tokens=10, output_cap=20, output_min=5, input_rate=1_000_000, output_rate=2_000_000)
FEE = Ask(input_tokens=10, output_cap=20, output_min=5, input_rate=1_000_000, output_rate=2_000_000, request_cost=10)

TABLE = [
    # what is limited, what is asked -> the output cap granted, or the scope and dimension that refuses
    ((), ASK, 20),
    ((room(),), ASK, 20),
    ((room(tokens=30),), ASK, 20),  # spent + needed == limit is admitted
    ((room(tokens=29),), ASK, 19),  # clamped to what remains
    ((room(tokens=15),), ASK, 5),  # clamped to the least that is of use
    ((room(tokens=14),), ASK, ("t", "tokens")),
    ((room(tokens=0),), ASK, ("t", "tokens")),
    ((room(tokens=30, held=10),), ASK, 10),  # holds count like spend
    ((room(tokens=30, spent=10),), ASK, 10),
    ((room(tokens=30, spent=40),), ASK, ("t", "tokens")),  # above a lowered limit
    ((room(cost_nanousd=50),), PRICED, 20),  # 10 * 1 + 20 * 2
    ((room(cost_nanousd=49),), PRICED, 19),
    ((room(cost_nanousd=9),), PRICED, ("t", "usd")),  # not even the input
    ((room(cost_nanousd=50, held=10),), PRICED, 15),  # holds and spend count in money too
    ((room(cost_nanousd=50, spent=10),), PRICED, 15),
    ((room(cost_nanousd=50, spent=5, held=5),), PRICED, 15),
    ((room(cost_nanousd=50, held=31),), PRICED, ("t", "usd")),
    ((room(cost_nanousd=50, spent=60),), PRICED, ("t", "usd")),  # above a lowered limit
    ((room(cost_nanousd=50),), FEE, 15),  # and so does what a request costs beside its tokens
    ((room(cost_nanousd=29),), FEE, ("t", "usd")),
    ((room(cost_nanousd=0),), ASK, 20),  # a free model costs nothing
    ((room(calls=1),), ASK, 20),
    ((room(calls=1, spent=1),), ASK, ("t", "calls")),
    ((room(calls=2, spent=1, held=1),), ASK, ("t", "calls")),
    ((Headroom("t", Limits(elapsed_ns=100), Amounts(), Amounts(), 99),), ASK, 20),
    ((Headroom("t", Limits(elapsed_ns=100), Amounts(), Amounts(), 100),), ASK, ("t", "seconds")),
    ((room("a", tokens=100), room("b", tokens=25)), ASK, 15),  # the tightest scope decides
    ((room("a", tokens=12), room("b", tokens=11)), ASK, ("b", "tokens")),  # and is the one named
    ((room("a", tokens=12), room("b", tokens=12)), ASK, ("a", "tokens")),  # of equals, the first
    ((Headroom("t", Limits(tokens=9, elapsed_ns=100), Amounts(), Amounts(), 100),), ASK, ("t", "tokens")),
    ((room(tokens=9, calls=0),), ASK, ("t", "tokens")),
    ((room("a", calls=0), room("b", cost_nanousd=9)), PRICED, ("a", "calls")),
    ((room("a", calls=0), room("b", tokens=8)), ASK, ("b", "tokens")),
    ((Headroom("a", Limits(elapsed_ns=9), Amounts(), Amounts(), 9), room("b", tokens=8)), ASK, ("b", "tokens")),
    ((room("a", tokens=5, cost_nanousd=5),), PRICED, ("a", "tokens")),
    ((room("a", calls=0), room("b", tokens=14)), ASK, ("a", "calls")),
]


@pytest.mark.parametrize(("headrooms", "ask", "expected"), TABLE)
def test_decide(headrooms: tuple[Headroom, ...], ask: Ask, expected: int | tuple[str, str]) -> None:
    """Every row: what is granted fits all scopes, and a refusal names the tightest."""
    verdict = decide(headrooms, ask)

    if isinstance(expected, int):
        assert isinstance(verdict, Grant)
        assert (verdict.output_cap, verdict.amounts) == (expected, ask.amounts(expected))
    else:
        assert isinstance(verdict, Refusal)
        assert (verdict.account, verdict.dimension) == expected


def test_refusal_carries_every_number() -> None:
    """A refusal says limit, spent, held and needed, so that one line of log explains it."""
    verdict = decide([room("thread:x", tokens=50, spent=30, held=10)], ASK)

    assert verdict == Refusal("thread:x", "tokens", 50, 30, 10, 15)
    assert str(verdict) == (
        "thread:x has 10 tokens left of 50 tokens (spent 30 tokens, held 10 tokens); the call needs 15 tokens"
    )


def test_money_is_rounded_up() -> None:
    """A fraction of a nano-dollar is held as a whole one."""
    ask = Ask(input_tokens=1, output_cap=1, input_rate=1, output_rate=0)

    assert ask.amounts(1) == Amounts(2, 1, 1)


def test_a_call_has_the_time_that_the_nearest_end_leaves() -> None:
    """Of several limits in seconds the one that ends first counts, in whatever order they stand."""
    soon, late = room("soon", elapsed_ns=60), room("late", elapsed_ns=10)
    limited = [
        Headroom(each.account, Limits(elapsed_ns=100), each.spent, each.held, each.elapsed_ns) for each in (soon, late)
    ]

    for headrooms in (limited, limited[::-1]):
        verdict = decide(headrooms, ASK)
        assert isinstance(verdict, Grant)
        assert verdict.time_left_ns == 40


@pytest.mark.parametrize("limits", [{"tokens": 30}, {"cost_nanousd": 30}])
def test_a_carved_child_gets_its_whole_limits_or_none(limits: dict[str, int]) -> None:
    """To the last token and the last nano-dollar, and no more; what its ancestors do not limit it may limit alone."""
    unit = "usd" if "cost_nanousd" in limits else "tokens"
    for spent, held in ((0, 70), (70, 0), (35, 35)):
        scope = room("p", spent=spent, held=held, **dict.fromkeys(limits, 100))
        assert carve([scope], Limits(calls=3, **limits)) == Amounts(
            limits.get("tokens", 0), limits.get("cost_nanousd", 0), 3
        )
        refused = carve([scope], Limits(**dict.fromkeys(limits, 31)))
        assert refused == Refusal("p", unit, 100, spent, held, 31)


def test_spend_may_be_corrected_to_nothing_and_to_the_most_but_not_beyond() -> None:
    """What was never spent cannot be taken off, and what no ledger can carry cannot be added."""
    spent = Amounts(10, 20, 3)

    check_correction("a", spent, Amounts(-10, -20, -3))
    check_correction("a", spent, Amounts(AMOUNT_MAX - 10, AMOUNT_MAX - 20, AMOUNT_MAX - 3))
    for by in (Amounts(-11), Amounts(0, -21), Amounts(0, 0, -4)):
        with pytest.raises(ConfigError, match="cannot be taken off"):
            check_correction("a", spent, by)
    with pytest.raises(ConfigError, match="more than 64 bits hold"):
        check_correction("a", spent, Amounts(AMOUNT_MAX - 9))
