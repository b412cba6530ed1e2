"""Answers of a given type: checked, mended once, and charged like any call."""

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from organism import Organism, Text, agent
from organism.agents.context import Context
from organism.agents.structured import object_schema
from organism.errors import AnswerError, ConfigError
from organism.testing import ScriptedProvider, run


class Step(msgspec.Struct):
    """One step."""

    name: str
    minutes: Annotated[int, Meta(ge=1)] = 5


class Plan(msgspec.Struct):
    """A plan."""

    title: str
    steps: list[Step]


class Tree(msgspec.Struct):
    """Mentions itself."""

    name: str
    branches: list["Tree"] = []


GOOD = '{"title": "tea", "steps": [{"name": "boil", "minutes": 3}]}'


def plan(answers: list[str]) -> tuple[Plan | str, ScriptedProvider, int]:
    """Ask for a plan; return it or why there is none, the provider, and the tokens charged."""
    provider = ScriptedProvider(answers, repeat=False)
    got: list[Plan | str] = []

    @agent()
    async def planner(message: Text, ctx: Context) -> None:
        try:
            got.append((await ctx.llm.complete("Make tea", response_type=Plan)).parsed)
        except AnswerError as error:
            got.append(str(error))

    async def main() -> int:
        async with Organism([planner], models={"m": "p/m"}, providers={"p": provider}) as organism:
            return (await organism.run("go")).budget.spent.tokens

    tokens = run(main)
    return got[0], provider, tokens


def test_answer_comes_back_as_its_type() -> None:
    """An answer that fits is a validated object, and the provider was shown the schema."""
    made, provider, tokens = plan([GOOD])

    assert made == Plan("tea", [Step("boil", 3)])
    form = provider.requests[0].response_format
    assert form is not None
    assert form.name == "Plan"
    assert form.schema["required"] == ["title", "steps"]  # type: ignore[index]
    assert tokens == provider.billed.total


@pytest.mark.parametrize(
    "wrong", ["no JSON at all", '{"title": "tea"}', '{"title": "tea", "steps": [{"name": "x", "minutes": 0}]}', ""]
)
def test_one_answer_that_does_not_fit_is_mended_and_charged(wrong: str) -> None:
    """The model is told what is wrong and answers once more; both calls are on the bill and in the ledger."""
    made, provider, tokens = plan([wrong, f"```json\n{GOOD}\n```"])

    assert made == Plan("tea", [Step("boil", 3)])
    assert len(provider.bill) == 2
    assert "does not fit" in str(provider.requests[1].messages[-1].content)
    assert provider.requests[1].messages[-2].text == wrong
    assert tokens == provider.billed.total


def test_second_answer_that_does_not_fit_is_an_error() -> None:
    """There is one attempt at mending, not a loop that spends."""
    made, provider, _ = plan(["no", "neither", GOOD])

    assert "twice gave no valid Plan" in str(made)
    assert len(provider.bill) == 2


def test_schema_is_an_object_as_providers_want_it() -> None:
    """The outermost object stands in place, nested types are defined beside it, also those that mention themselves."""
    schema = object_schema(Plan)
    assert schema["type"] == "object"
    assert set(schema["$defs"]) == {"Step"}
    assert object_schema(Step).get("$defs") is None
    assert "Tree" in object_schema(Tree)["$defs"]


@pytest.mark.parametrize("wanted", [int, list[int], object()])
def test_type_that_is_no_object_is_refused(wanted: object) -> None:
    """What no provider could be asked for is refused before any call."""
    with pytest.raises(ConfigError, match=r"is no object in JSON|has no JSON Schema"):
        object_schema(wanted)
