"""What a simulated organism is made with: its journal, clock and chance, and providers that fail and keep a bill."""

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from organism.amounts import TokenUsage
from organism.errors import RejectedError, UncertainError
from organism.ids import IdSource, SequentialIds
from organism.llm.requests import CompletionRequest, ToolCall, ToolResult
from organism.providers.scripted import BilledCall, ScriptedAnswer, ScriptedProvider, input_words
from organism.testing.crashing_journal import CrashingJournal
from organism.testing.virtual_time import VirtualClock

_THREAD = re.compile(r"\bth_\d+")

_ENDLESS = 0.15
"""How often what is odd about an answer is that it goes on beyond its cap."""

_ANOTHER_ROUND = 0.6
"""How often a model that has results of tools asks for more: so that some go round and round."""

_LATENCIES_S = (0.0, 0.0, 0.01, 0.4, 5.0)


class MachineClock(VirtualClock):
    """Virtual time as a machine shows it that somebody sets: the one that only measures goes on.

    Attributes:
        back_ns: How far it has been set back in all, in nanoseconds.
    """

    def __init__(self) -> None:
        self.back_ns = 0

    def now_ns(self) -> int:
        """Return what it shows."""
        return super().now_ns() - self.back_ns


class _Line(NamedTuple):
    """A call that is billed: whose, what it costs if nobody closes it, its cap, and where the provider has it."""

    owner: str
    usage: TokenUsage
    cap: int
    bill: list[BilledCall]
    line: int


class World:
    """The surroundings of one run, through all crashes of it.

    Args:
        seed: Decides all chance.

    Attributes:
        journal: The journal of the present process; another after each crash.
        clock: Virtual time, by the clock of a machine that somebody may set back.
        ids: Ids counted from 1.
        draw: The run's chance, to draw from; also what an organism takes as ``chance``.
        owner: Whom a request is for: the id of a thread in the last turn
            that has one, by default, so put ``ctx.thread_id`` into prompts; what has none is not compared.
    """

    def __init__(self, seed: int) -> None:
        self.journal = CrashingJournal()
        self.clock = MachineClock()
        self.ids: IdSource = SequentialIds()
        self.draw = random.Random(f"world {seed}")  # noqa: S311 - repeatable, not secret
        self._lines: list[_Line] = []
        self.owner: Callable[[CompletionRequest], str] = _first_thread

    def billed(self, *, within_caps: bool = False) -> Counter[str]:
        """Tokens that the providers bill, by what :attr:`owner` finds in the request.

        Args:
            within_caps: Of each answer at most the cap that was sent. That an answer went beyond it is known to nobody
                where the process died before its usage was written, and it is not promised then.
        """
        billed: Counter[str] = Counter()
        for owner, usage, cap, bill, line in self._lines:
            # A stream that was closed is billed for what had come.
            output = min(usage.output, bill[line].usage.output)
            billed[owner] += usage.input + (min(output, cap) if within_caps else output)
        return billed

    def chance(self) -> float:
        """Return a number from 0 up to 1."""
        return self.draw.random()

    def provider(
        self, *, faults: float = 0.25, answer: Callable[[CompletionRequest], str] | None = None
    ) -> ScriptedProvider:
        """Make a provider that answers after a time nobody can foresee, and fails as providers do.

        Args:
            faults: How often something is odd: a refusal, a break, usage that is missing, too large or senseless.
            answer: What it says where nothing is.
        """

        def script(request: CompletionRequest) -> ScriptedAnswer:
            text = "ok " * self.draw.randint(1, 12) if answer is None else answer(request)
            answered, usage = self._answer(request, text.strip(), odd=self.draw.random() < faults)
            if not isinstance(answered.error, RejectedError) and (owner := self.owner(request)):
                cap = request.max_output_tokens or usage.output
                self._lines.append(_Line(owner, usage, cap, provider.bill, len(provider.bill)))
            return answered

        provider = ScriptedProvider(script, ignores_cap=True, stops_when_closed=True)
        return provider

    def _answer(self, request: CompletionRequest, text: str, *, odd: bool) -> tuple[ScriptedAnswer, TokenUsage]:
        """Return an answer, and what it costs if nobody closes it."""
        calls: tuple[ToolCall, ...] = ()
        rounds = sum(any(isinstance(part, ToolResult) for part in turn.parts) for turn in request.messages)
        if request.tools and (not rounds or self.draw.random() < _ANOTHER_ROUND):
            chosen = self.draw.choices([tool.name for tool in request.tools], k=self.draw.randint(1, 2))
            calls = tuple(ToolCall(f"c{place}", name, "{}") for place, name in enumerate(chosen))
        words = text.split()[: request.max_output_tokens]
        if odd and self.draw.random() < _ENDLESS:
            words, odd = ["more"] * (request.max_output_tokens + self.draw.randrange(5, 200)), False
        output = len(words) + 2 * len(calls)
        usage = TokenUsage(input=input_words(request), output=output)
        latency_s = self.draw.choice(_LATENCIES_S)
        answer = ScriptedAnswer(text=" ".join(words), tool_calls=calls, usage=usage, latency_s=latency_s)
        return self._spoil(answer) if odd else answer, usage

    def _spoil(self, answer: ScriptedAnswer) -> ScriptedAnswer:
        """Make one thing about an answer wrong; what it costs stays what it is, so that the bill is right."""
        usage = answer.usage or TokenUsage()
        changes: tuple[dict[str, object], ...] = (
            {"error": RejectedError("simulated", "not now", again=True)},
            {"error": RejectedError("simulated", "never")},
            {"error": UncertainError("simulated", "broken off")},
            {"report_usage": False},
            {"usage_error": "usage that makes no sense"},
            {"usage": TokenUsage(input=usage.input + 400, output=usage.output)},
            {"usage": TokenUsage(input=10**9, output=usage.output)},
            {"latency_s": 700.0},
            {"text": ""},
        )
        fields = {name: getattr(answer, name) for name in answer.__struct_fields__}
        return ScriptedAnswer(**(fields | self.draw.choice(changes)))


def _first_thread(request: CompletionRequest) -> str:
    """Return the first id of a thread: agents with a model may have notes before it, and earlier turns."""
    texts = (message.text for message in reversed(request.messages) if message.role == "user")
    found = (_THREAD.search(text) for text in texts)
    return next((match[0] for match in found if match), "")
