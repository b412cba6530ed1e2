"""Names of tools in OpenAI's responses, there and elsewhere: none is cut to another's."""

import random

from organism.formats.native_tools import CallNames, function_tool
from organism.llm.requests import ToolCall
from tests.fuzz import answer_checks, answer_streams

LONG = "read_the_item_by_its_identifier_in_full_"


def test_functions_of_one_namespace_with_long_names_stay_apart() -> None:
    """What is too long for other servers is shortened to a name of its own, and a call of it finds its function."""
    space = {"type": "namespace", "name": "mcp__warehouse_of_the_north"}
    functions = [{"type": "function", "name": LONG + end} for end in ("get", "put")]
    tools = [function_tool(raw, space) for raw in functions]
    names = CallNames(tools)
    assert len({tool.name for tool in tools}) == 2
    for tool, raw in zip(tools, functions, strict=True):
        assert len(tool.name) <= 64
        written = names.write(ToolCall("c", tool.name, "{}"), "c")
        assert (written["name"], written["namespace"]) == (raw["name"], space["name"])
        assert names.known(raw["name"], space["name"]) == tool.name


def test_name_without_a_namespace_is_read_as_it_stands() -> None:
    """However long: what a model calls is told as it was called, in every format. Found by the fuzzing."""
    assert CallNames(()).known("x" * 400, "") == "x" * 400
    chance = random.Random("answers: chat 24 11")
    answer = answer_streams.some_answer("chat", chance)
    assert not list(answer_checks.faults_of(answer, answer_streams.pieces(answer.raw, chance)))
