"""Reads answers of chat completions: whole, and as a stream of chunks. Pure.

Sources: the references of chat completions of OpenAI and of each vendor in :mod:`organism.formats.vendors`; what is
understood beyond them, and where it was seen, stands in docs/PROVIDERS.md.
"""

from collections.abc import Iterator
from typing import cast

from msgspec.structs import replace

from organism.formats.answers.collector import AnswerCollector
from organism.formats.counts import counting_of, reported_cost
from organism.formats.json_reading import JsonObject, choices_in, part, text_of, whole_number
from organism.formats.openai_chat.answer_extras import CustomCalls, citations_in, logprobs_in
from organism.formats.openai_chat.legacy_functions import LEGACY
from organism.formats.openai_chat.reasoning_details import KEPT_FIELDS, is_sealed, kept_of, seal_of, words_of_detail
from organism.formats.tool_calls import ToolCallPiece
from organism.formats.usage_history import UsageHistory, usages_of_chat
from organism.formats.vendors import Vendor
from organism.llm.answers import Completion
from organism.llm.deltas import ProviderPiece, ProviderSink, ReasoningDelta, ToolCallDelta, Unshown
from organism.llm.requests import CompletionRequest


class ChatReader:
    """Reads one answer.

    Args:
        request: What was asked.
        vendor: The quirks of the server.
        on_text: Called with each piece.
    """

    def __init__(self, request: CompletionRequest, vendor: Vendor, on_text: ProviderSink | None = None) -> None:
        self._request = request
        self._vendor = vendor
        self._on_text = on_text
        self._usage = UsageHistory()
        self._answer = AnswerCollector(request, on_text, self._usage)
        self._choices: dict[int, AnswerCollector] = {0: self._answer}
        self._streamed: set[int] = set()
        self._pieced: set[int] = set()
        self._is_void = False
        self._is_first_seen = False
        self._custom = CustomCalls()
        self.is_started = False

    @property
    def is_begun(self) -> bool:
        """Whether any of the answer has come."""
        return bool(self._custom) or any(answer.is_begun for answer in self._choices.values())

    @property
    def is_ended(self) -> bool:
        """Whether ``[DONE]`` has come."""
        return self._answer.is_ended

    @property
    def is_complete(self) -> bool:
        """Whether it has ended properly; the end of another choice says nothing of the first."""
        awaited = self._answer if self._is_first_seen else self._chosen()
        return self.is_ended or self._answer.is_counted_out or awaited.is_complete

    @property
    def is_concluded(self) -> bool:
        """Whether it says that it has ended, or why, and no reason is an error."""
        return self._chosen().is_concluded

    @property
    def is_void(self) -> bool:
        """Whether it says that no model has served it, as relays do with null choices and no count."""
        counts, _ = self._usage.merged()
        return self._is_void and not self.is_started and not any(whole_number(count) for count in counts.values())

    @property
    def is_counted(self) -> bool:
        """Whether usage has come."""
        return bool(self._usage)

    def end(self) -> None:
        """Take ``[DONE]``: a proper end if anything came before it."""
        self._answer.is_ended = self.is_begun or self.is_started

    def whole(self, value: JsonObject) -> None:
        """Take a whole answer. A single chunk that came as plain JSON is not one, unless it has usage."""
        self.event(value)
        is_all = not _is_chunk(value) or self.is_counted
        self._answer.is_ended = self._answer.is_ended or (self.is_started and is_all)

    def event(self, value: JsonObject) -> None:
        """Take a chunk; see :meth:`organism.formats.answers.decoder.AnswerReader.event`."""
        if model := text_of(value.get("model")):
            self._answer.model = model
        self._answer.service_tier = text_of(value.get("service_tier")) or self._answer.service_tier
        found = choices_in(value)
        self._is_void = self._is_void or ("choices" in value and not value["choices"] and not value.get("id"))
        for place, choice in enumerate(found):
            self.is_started = True
            index = whole_number(choice.get("index"))
            self._read_choice(place if index is None else index, choice)
        for said in usages_of_chat(value, found):
            if news := self._usage.add(said):
                self._answer.show_usage(news, counting_of(self._vendor))
        usage = value.get("usage")
        if isinstance(usage, dict) and any(usage.values()) and not found and self.is_started:
            self._answer.is_counted_out = True

    def _read_choice(self, index: int, choice: JsonObject) -> None:
        answer = self._choices.get(index)
        self._is_first_seen = self._is_first_seen or answer is self._answer
        if answer is None:
            # It is read, because it is billed, but not shown: the caller may not have asked for another choice.
            answer = self._choices[index] = AnswerCollector(self._request, self._count_only, self._usage)
        delta, message = choice.get("delta"), choice.get("message")
        answer.logprobs += logprobs_in(choice)
        if isinstance(delta, dict) and any(delta.values()):
            self._streamed.add(index)
            _read(answer, self._without_custom(answer, delta, is_whole=False))
        elif delta is None:
            answer.write(text_of(choice.get("text")))  # as completions were before there was chat
        if isinstance(message, dict):
            self._read_message(answer, message, choice, index)
        answer.end(choice.get("finish_reason") or choice.get("native_finish_reason"))

    def _without_custom(self, answer: AnswerCollector, message: JsonObject, *, is_whole: bool) -> JsonObject:
        """Return a message, or a piece of one, without calls of custom tools, which are collected apart."""
        calls = message.get("tool_calls")
        custom = [each for each in calls if isinstance(part(each, "custom"), dict)] if isinstance(calls, list) else []
        if not custom or answer is not self._answer:
            return message
        for call in custom:
            self._custom.add(call, is_whole=is_whole)
            self._count_only(text_of(part(call, "custom", "input")))
        return {**message, "tool_calls": [each for each in cast("list[JsonObject]", calls) if each not in custom]}

    def _count_only(self, piece: ProviderPiece) -> None:
        """Hand on a piece of a choice that is not shown, so that its tokens are counted."""
        if self._on_text is None:
            return
        match piece:
            case str(text) | ReasoningDelta(text=text) | ToolCallDelta(arguments=text):
                self._on_text(Unshown(str(text)))
            case _:
                self._on_text("")

    def _read_message(self, answer: AnswerCollector, message: JsonObject, choice: JsonObject, index: int) -> None:
        """Take a message in place of a delta: the whole after its pieces, a growing whole, or a piece.

        A server whose message has once not begun with all text before writes pieces, whatever a later one begins with.
        """
        text, said = text_of(message.get("content")), answer.text
        goes_on = bool(said) and text.startswith(said)
        if said and text and not goes_on:
            self._pieced.add(index)
        grows = len(text) > len(said) and index not in self._pieced
        is_all = goes_on and (grows or bool(choice.get("finish_reason")))
        message = self._without_custom(answer, message, is_whole=True)
        _read(answer, message, is_whole=True, repeats=answer.is_begun and (index in self._streamed or is_all))

    def counted(self, usage: JsonObject) -> Completion:
        """Return what has come before an error ended it, with the usage that the error carries."""
        self._usage.add(usage)
        self._chosen().end("error")
        return self.completion()

    def _chosen(self) -> AnswerCollector:
        """Return the first choice, or the first that has any content."""
        has_first = self._answer.is_begun or not any(answer.is_begun for answer in self._choices.values())
        return self._answer if has_first else next(each for each in self._choices.values() if each.is_begun)

    def completion(self) -> Completion:
        """Return the answer."""
        self._custom.finish(self._answer)
        chosen = self._chosen()
        chosen.model, chosen.service_tier = self._answer.model, self._answer.service_tier
        if not self.is_started:
            chosen.end("error")  # there is usage, but no choice
        wanted = self._request.choices - 1
        others = [each for _, each in sorted(self._choices.items()) if each is not chosen]
        vendor = self._vendor
        unused = "\n".join(each.generated for each in others[wanted:] if each.is_begun)
        if any(item.format == "chat" for item in self._request.vendor_tools):
            chosen.tool_uses["chat:web_search"] = 1
        answer = chosen.completion(counting_of(vendor), lambda usage: reported_cost(usage, vendor), unused=unused)
        if wanted:
            alternatives = tuple(each.completion(counting_of(vendor)) for each in others[:wanted])
            answer = replace(answer, alternatives=tuple(replace(each, usage=None) for each in alternatives))
        if answer.cost_nanousd is not None and not vendor.cost:
            answer = replace(answer, is_cost_assumed=True)
        if chosen is not self._answer and self._on_text is not None and answer.text:
            self._on_text(answer.text)
        return answer


_WORDS = frozenset({"role", "content"})


def _is_chunk(value: JsonObject) -> bool:
    deltas = (choice.get("delta") for choice in choices_in(value)[:1])
    return value.get("object") == "chat.completion.chunk" or any(delta is not None for delta in deltas)


def _read(answer: AnswerCollector, message: JsonObject, *, is_whole: bool = False, repeats: bool = False) -> None:
    """Add a message, or a piece of one, to an answer; both have the same fields.

    Args:
        answer: The answer so far.
        message: The message or piece.
        is_whole: Whether it is the whole message.
        repeats: Whether it repeats pieces that have come before.
    """
    content = message.get("content")
    if message.keys() <= _WORDS and isinstance(content, str) and not is_whole:
        answer.write(text_of(content))  # the fast path: nearly all pieces are text alone
        return
    for words in _thoughts(message):
        if not (repeats and answer.is_begun):
            answer.think(words)
    if not repeats:
        _read_details(answer, message.get("reasoning_details"))
    text = text_of(content) + "".join(_texts(content)) or text_of(part(message, "audio", "transcript"))
    (answer.write_whole if is_whole and repeats else answer.write)(text)
    answer.cite(*citations_in(message))
    refusal = text_of(message.get("refusal"))
    (answer.refuse_whole if is_whole and repeats else answer.refuse)(refusal)
    if kept := {name: message[name] for name in KEPT_FIELDS if message.get(name)}:
        answer.keep(kept)
    calls = message.get("tool_calls")
    listed = [call for call in _listed(calls) if isinstance(call, dict)]
    pieces = [_piece(call, repeats=repeats) for call in listed]
    if is_whole and not answer.has_calls:
        pieces = [replace(piece, begins=True) for piece in pieces]
    if isinstance(old := message.get(LEGACY), dict) and not pieces:
        name, arguments = text_of(old.get("name")), old.get("arguments")
        if name or arguments:
            pieces = [ToolCallPiece(place=LEGACY, name=name, arguments=arguments, repeats=repeats)]
    answer.call(*pieces)


def _piece(call: JsonObject, *, repeats: bool) -> ToolCallPiece:
    """Read a piece of a call; some servers leave out the object around name and arguments."""
    function = call.get("function")
    said = function if isinstance(function, dict) else call
    return ToolCallPiece(
        place=whole_number(call.get("index")),
        id=text_of(call.get("id")),
        name=text_of(said.get("name")),
        arguments=said.get("arguments"),
        extra={name: call[name] for name in KEPT_FIELDS if call.get(name)},
        repeats=repeats,
    )


def _listed(value: object) -> list[object]:
    """Return a list; some servers leave out the brackets of a list of one object."""
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else []


def _texts(content: object) -> Iterator[str]:
    """Yield the texts of content that is written as parts."""
    for piece in _listed(content):
        if isinstance(piece, str):
            yield text_of(piece)
        elif text_of(part(piece, "type")) in {"", "text", "output_text"}:
            yield text_of(part(piece, "text"))


def _thoughts(message: JsonObject) -> Iterator[str]:
    """Yield reasoning: from the content (Mistral), and from one of its fields, of which servers may write several."""
    content = message.get("content")
    for piece in _listed(content):
        thinking = part(piece, "thinking")
        yield text_of(thinking) + "".join(_texts(thinking))
    names = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
    said = next((words for name in names if (words := text_of(message.get(name)))), "")
    details = message.get("reasoning_details")
    if not any(part(each, "text") or part(each, "summary") for each in (details if isinstance(details, list) else ())):
        yield said


def _read_details(answer: AnswerCollector, details: object) -> None:
    """Add reasoning as OpenRouter writes it: typed, signed, and to be sent back unchanged.

    Source: "Reasoning tokens", the guide to OpenRouter's API. Pieces of one detail share its type and index.
    """
    for number, detail in enumerate(details if isinstance(details, list) else ()):
        if not isinstance(detail, dict):
            continue
        index = whole_number(detail.get("index"))
        answer.think(
            words_of_detail(detail),
            f"{detail.get('type')}:{number if index is None else index}",
            signature=seal_of(detail),
            thought_id=text_of(detail.get("id")),
            redacted=is_sealed(detail),
            extra=kept_of(detail),
        )
