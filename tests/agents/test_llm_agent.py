"""The agent that is a model: what it is shown, what it remembers, and what it does with an empty answer."""

import pytest

from organism import AgentFailed, Context, Limits, LLMSettings, Organism, Text, ThreadResult, agent, llm_agent
from organism.agents.budget_notes import note_for
from organism.messages import BudgetWarning
from organism.providers.scripted import ScriptedAnswer
from organism.testing import ScriptedProvider, VirtualClock, run


def converse(provider: ScriptedProvider, *questions: str, memory_tokens: int = 2000) -> list[list[str]]:
    """Ask one agent in one thread; return the texts of each prompt it made."""

    @agent(peers=["writer"])
    async def boss(message: Text, ctx: Context) -> None:
        for question in questions:
            await ctx.ask("writer", Text(question))

    writer = llm_agent("writer", system="Be kind.", settings=LLMSettings(memory_tokens=memory_tokens))

    async def scenario() -> ThreadResult:
        organism = Organism(
            [boss, writer],
            models={"main": "scripted/m"},
            providers={"scripted": provider},
            limits=Limits(tokens=100_000),
            clock=VirtualClock(),
        )
        async with organism:
            return await organism.run("go")

    assert run(scenario).outcome == "completed"
    return [[str(message.content) for message in request.messages] for request in provider.requests]


def test_agent_remembers_its_thread() -> None:
    """Later prompts of a thread hold the earlier questions and answers, between the instructions and the question."""
    prompts = converse(ScriptedProvider(["first answer", "second answer"]), "one", "two")

    assert prompts == [["Be kind.", "one"], ["Be kind.", "one", "first answer", "two"]]


def test_memory_is_bounded_and_drops_whole_turns_oldest_first() -> None:
    """A long conversation does not make every call dearer: what does not fit is forgotten, question and answer both."""
    long = "word " * 200
    prompts = converse(ScriptedProvider(["yes"]), f"a {long}", f"b {long}", f"c {long}", "d", memory_tokens=500)

    assert [text[:1] for text in prompts[-1][1:]] == ["c", "y", "d"]


def test_agent_without_memory_starts_afresh() -> None:
    """Zero tokens of memory is none."""
    assert converse(ScriptedProvider(["yes"]), "a", "b", memory_tokens=0)[-1] == ["Be kind.", "b"]


def test_empty_answer_is_asked_for_once_more() -> None:
    """A model that says nothing gets one more chance, and the lost one is not remembered."""
    prompts = converse(ScriptedProvider(["", "words", "more"]), "one", "two")

    assert prompts[1] == ["Be kind.", "one", "Your answer was empty. Answer in words."]
    assert prompts[2] == ["Be kind.", "one", "words", "two"]


def test_notes_say_in_words_what_happened() -> None:
    """A model reads how much is left and what it should do about it, or whose part is missing."""
    warning = BudgetWarning(account="thread:t", dimension="tokens", threshold=95, level="final", limit=1000, spent=951)

    assert note_for(warning) == (
        "[Note: 95 % of the budget is used; 49 tokens left. Give your final answer now, in one or two sentences.]"
    )
    assert "facts could not do its part: too slow" in note_for(
        AgentFailed(agent="facts", message_id="m", reason="too slow")
    )


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "pause_turn", "error"])
def test_answer_that_is_not_whole_is_marked(reason: str) -> None:
    """What was cut, refused, paused or broke reaches its reader with its words, and says that it is not all."""
    provider = ScriptedProvider([ScriptedAnswer(text="half a sent", finish_reason=reason)])

    async def scenario() -> ThreadResult:
        organism = Organism(
            [llm_agent("writer")],
            models={"main": "scripted/m"},
            providers={"scripted": provider},
            limits=Limits(tokens=100_000),
            clock=VirtualClock(),
        )
        async with organism:
            return await organism.run("go")

    assert run(scenario).outputs == (Text("half a sent", "" if reason == "stop" else reason),)
