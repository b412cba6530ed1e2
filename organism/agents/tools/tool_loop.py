"""The loop of a model and its tools: call the model, run the tools it asks for, send the results, call again."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from hashlib import sha256

import anyio
import msgspec
from msgspec.structs import replace

from organism.agents.budget_notes import note_for
from organism.agents.context import Context
from organism.agents.tools.last_word import last_word
from organism.agents.tools.paid_run import ToolRefusedError, refused_run, run_tool
from organism.agents.tools.tool import AgentTool, ToolRun, refused
from organism.errors import AnswerError, BudgetExhaustedError, DeliveryError, UnboundedError
from organism.llm.answers import Completion
from organism.llm.requests import ChatMessage, CompletionRequest, ImagePart, Part, TextPart, ToolCall, ToolResult
from organism.messages import BudgetWarning
from organism.router.call import LastWord

CompleteCall = Callable[[CompletionRequest, LastWord | None], Awaitable[Completion]]
"""Makes a model call; with a last word it leaves room for a final one."""

DEFAULT_ROUNDS = 8
"""The most model calls for one message; the last one must answer."""


class ToolLoop:
    """Answers a request by way of tools.

    Args:
        send: Makes a model call; each is charged and, when the handler is run again, not paid twice.
        tools: The tools by name.
        ctx: The context they run in.
        rounds: The most model calls; in the last one no tool may be asked for.
        news: Returns new warnings of the budget, which the model gets with the results of its tools.
        budget: Returns what is left of the budget, for models that get it with the results of every round.
    """

    def __init__(
        self,
        send: CompleteCall,
        tools: dict[str, AgentTool],
        ctx: Context,
        rounds: int = DEFAULT_ROUNDS,
        news: Callable[[], Iterable[BudgetWarning]] = tuple,
        budget: Callable[[], str] | None = None,
    ) -> None:
        self._send = send
        self._tools = tools
        self._ctx = ctx
        self._rounds = rounds
        self._news = news
        self._warned: set[tuple[str, str, int, int]] = set()
        self._budget = budget
        self.messages: tuple[ChatMessage, ...] = ()
        """The conversation so far, calls and results included, without the last answer."""

    async def answer(self, request: CompletionRequest) -> Completion:
        """Run the loop until the model asks for no more tools.

        Raises:
            AnswerError: The model asks for tools when it may not.
        """
        self.messages = request.messages
        run = 0
        if not self._tools:
            return await self._send(request, None)
        specs = tuple(tool.spec for tool in self._tools.values())
        for number in range(1, self._rounds + 1):
            choice = request.tool_choice if number < self._rounds else "none"
            asked = replace(request, messages=self.messages, tools=specs, tool_choice=choice)
            answer = await self._ask(asked)
            if not answer.tool_calls:
                return answer
            # A model may ask for tools although it must not. Its text beside them is its answer: running them would end
            # in a call that waits for budget, or in none. Without text they are run, so that their results are there
            # when the limit is raised.
            if answer.text.strip() and (answer.is_last_word or choice == "none"):
                return answer.without_calls()
            results = await self._run(answer.tool_calls, run)
            loop = self._loop_notes(run, answer.tool_calls, results)
            run += len(results)
            told: tuple[Part, ...] = (*results, *await self._warning(number), *loop, *await self._left(number))
            self.messages = (*self.messages, answer.turn, ChatMessage("user", told))
        raise AnswerError(f"the model asked for tools in {self._rounds} calls and gave no answer")

    async def _ask(self, asked: CompletionRequest) -> Completion:
        """Call the model; without the images of tools if no route can bound them.

        So the agent's paid work is not lost because one of its tools has sent an image.
        """
        try:
            return await self._send(asked, partial(last_word, asked))
        except UnboundedError as error:
            self.messages = tuple(_without_images(message, error.provider) for message in asked.messages)
            if self.messages == asked.messages:
                raise
        plain = replace(asked, messages=self.messages)
        return await self._send(plain, partial(last_word, plain))

    async def _warning(self, number: int) -> tuple[TextPart, ...]:
        """Return new warnings as notes; kept, so that a second run has the same."""

        async def look() -> list[BudgetWarning]:
            return list(self._news())  # kept in the step that takes them: no crash in between loses or repeats one

        notes: list[TextPart] = []
        for warning in await self._ctx.once(f"warning:{number}", look, list[BudgetWarning]):
            about = (warning.account, warning.dimension, warning.threshold, warning.limit)
            if about not in self._warned:  # organism 0.2 and before kept with each round what it had said before
                self._warned.add(about)
                notes.append(TextPart(note_for(warning)))
        return tuple(notes)

    async def _left(self, number: int) -> tuple[TextPart, ...]:
        """Return what is left of the budget, if wanted, as a note; kept, so that a second run has the same."""
        if (budget := self._budget) is None:
            return ()

        async def look() -> str:
            return budget()

        left = await self._ctx.once(f"budget:{number}", look, str)
        return (TextPart(left),) if left else ()

    def _loop_notes(
        self, run_before: int, calls: tuple[ToolCall, ...], results: tuple[ToolResult, ...]
    ) -> tuple[TextPart, ...]:
        """Return notes of the breaker about calls or results that repeat."""
        notes = [
            self._ctx.on_tool(run_before + place, call.name, call.arguments, _text(result))
            for place, (call, result) in enumerate(zip(calls, results, strict=True))
        ]
        return tuple(TextPart(note) for note in notes if note is not None)

    async def _prepare(
        self, calls: tuple[ToolCall, ...]
    ) -> tuple[list[tuple[int, AgentTool, ToolRun]], dict[int, ToolResult]]:
        """Ask for approvals, and give each run its number in the order of the calls.

        A second run of the handler gives the same numbers, so that finished runs are found and not repeated.

        Returns:
            The runs that may begin, and the results of the other calls.
        """
        results: dict[int, ToolResult] = {}
        ready: list[tuple[int, AgentTool, ToolRun]] = []
        for place, call in enumerate(calls):
            tool = self._tools.get(call.name)
            if tool is None:
                there = ", ".join(self._tools)
                results[place] = ToolResult(call.id, f"there is no tool {call.name!r}; there are: {there}", True)
            elif (refusal := await refused(tool, call, self._ctx)) is not None:
                results[place] = refusal
            else:
                try:
                    ready.append((place, tool, tool.call(call.arguments, self._ctx)))
                except DeliveryError as error:
                    results[place] = ToolResult(call.id, str(error), is_error=True)
        return ready, results

    async def _run(self, calls: tuple[ToolCall, ...], run_before: int) -> tuple[ToolResult, ...]:
        """Run tools concurrently, and after them, one by one, those that a second run of the handler repeats."""
        ready, results = await self._prepare(calls)
        shortages: dict[int, BudgetExhaustedError] = {}

        async def run(place: int, tool: AgentTool, work: ToolRun) -> None:
            key = _key(run_before + place, calls[place])
            run_now = partial(run_tool, tool, calls[place], work, self._ctx)
            try:
                if tool.replayed and not self._ctx.has_done(key):
                    results[place] = await run_now()
                else:
                    results[place] = await self._ctx.once(key, run_now, ToolResult)
            except ToolRefusedError as error:
                shortages[place] = error.shortage

        async with anyio.create_task_group() as tasks:
            for place, tool, work in ready:
                if not tool.replayed:
                    tasks.start_soon(run, place, tool, work)
        for place, tool, work in ready:
            if tool.replayed:
                await run(place, tool, work)
        # Only now: a message that waits for budget is cut short, and running tools would be, too.
        for place, shortage in sorted(shortages.items()):
            refuse = partial(refused_run, calls[place], shortage, self._ctx)
            results[place] = await self._ctx.once(_key(run_before + place, calls[place]), refuse, ToolResult)
        return tuple(results[place] for place in range(len(calls)))


def _without_images(message: ChatMessage, provider: str) -> ChatMessage:
    """Return a turn with notes in place of images in results of tools; images of users stay."""
    note = TextPart(
        f"[an image left out: nothing bounds its tokens; the operator can set 'image_tokens' of {provider!r}]"
    )
    parts = tuple(
        replace(part, content=tuple(note if isinstance(each, ImagePart) else each for each in part.content))
        if isinstance(part, ToolResult) and not isinstance(part.content, str)
        else part
        for part in message.parts
    )
    return message if parts == message.parts else replace(message, content=parts)


def _key(number: int, call: ToolCall) -> str:
    """Return the key of a run; a model that asks for something else in a second run does not get the old result."""
    return f"tool:{number}:{sha256(msgspec.json.encode(call)).hexdigest()[:16]}"


def _text(result: ToolResult) -> str:
    """Write a result as text, to compare it with others."""
    content = result.content
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()
