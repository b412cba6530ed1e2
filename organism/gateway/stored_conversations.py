"""Conversations that are kept here between requests, so that a client of OpenAI's responses need not send them again.

A request may go on from an answer (``previous_response_id``), name items of one (``item_reference``), or belong to a
conversation, which is kept as the last of its turns, each of which goes on from the one before. It is made whole before
it is read: what is sent to the provider, held and paid is the whole conversation.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from organism.control.stored_answers import StoredAnswers
from organism.formats.errors.faults import Fault, FaultError, bad_request
from organism.formats.openai_responses.server_items import items_of
from organism.formats.server_format import Json

PREVIOUS = "previous_response_id"
CONVERSATION = "conversation"


class StoredTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one request and its answer.

    Attributes:
        previous: The answer it goes on from.
        input: What was said with it, references already replaced by what they refer to.
        response: The answer as the client got it; empty if items were put into a conversation without any.
        conversation: The conversation it belongs to.
    """

    previous: str | None
    input: list[Any]
    response: Json = {}
    conversation: str | None = None

    @property
    def items(self) -> list[Any]:
        """All that was said in it."""
        return [*self.input, *self.response.get("output", ())]


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a conversation.

    Attributes:
        created_s: When it was begun, seconds since the Unix epoch.
        metadata: The client's labels.
        last: Its last turn, if it has any.
        dropped: Ids of items that were taken out.
    """

    created_s: int
    metadata: dict[str, str] = {}
    last: str | None = None
    dropped: tuple[str, ...] = ()


class StoredConversations:
    """Makes requests whole, and keeps what they lead to.

    Args:
        kept: Where answers are kept.
    """

    def __init__(self, kept: StoredAnswers) -> None:
        self._kept = kept
        self._keeps_any = True

    def bound(self, answers: int, days: int) -> None:
        """Keep so many answers of each caller, for so many days, and forget what is kept beyond that."""
        self._keeps_any = answers > 0
        self._kept.bound(answers=answers, days=days)

    async def made_whole(self, by: str, raw: Json) -> tuple[Json, StoredTurn]:
        """Return a request with its whole conversation in it, and what of it is to be kept with its answer.

        Args:
            by: Whose request it is.
            raw: The request as it came; it may be wrong in any way that its format finds later.

        Raises:
            FaultError: It refers to what is not kept.
            JournalError: What it refers to cannot be read.
        """
        said = items_of(raw.get("input"))
        items = [{"type": "message", "role": "user", "content": said}] if isinstance(said, str) else said
        if not isinstance(items, list):
            return raw, StoredTurn(None, [])
        items = [await self._item(by, item) for item in items]
        previous = raw.get(PREVIOUS)
        if (named := _named(raw.get(CONVERSATION))) is not None:
            if previous is not None:
                message = f"{CONVERSATION}: a request goes on from it or from '{PREVIOUS}'; leave one of them out"
                raise bad_request(message, CONVERSATION)
            whole = raw | {"input": [*await self.items(by, named), *items], CONVERSATION: {"id": named}}
            return whole, StoredTurn(None, items, conversation=named)
        if not isinstance(previous, str):
            return raw | ({} if isinstance(said, str) else {"input": items}), StoredTurn(None, items)
        before = await self._before(by, previous)
        return raw | {"input": [*before, *items]}, StoredTurn(previous, items)

    def keep(self, by: str, turn: StoredTurn, response: Json) -> None:
        """Keep an answer; durable with the next commit."""
        turn = msgspec.structs.replace(turn, response=response)
        if turn.conversation is None:
            self._keep(by, response["id"], turn)
        elif (found := self._conversation(by, turn.conversation)) is not None:  # else it was forgotten meanwhile
            named = msgspec.structs.replace(turn, input=_with_ids(turn.input, response["id"]))
            self._append(by, turn.conversation, found, response["id"], named)

    def begin(self, by: str, name: str, conversation: Conversation, items: list[Json]) -> None:
        """Begin a conversation, with what was said in it elsewhere; durable with the next commit.

        Raises:
            FaultError: If none is kept here.
        """
        if not self.change(by, name, conversation):
            message = f"This gateway has no room to keep a conversation.{self._hint}"
            raise bad_request(message, None, "conversation_not_kept")
        self.add(by, name, f"{name}_0", items)

    def conversation(self, by: str, name: str) -> Conversation:
        """Return a conversation.

        Raises:
            FaultError: If there is none of that id.
        """
        if (found := self._conversation(by, name)) is None:
            message = f"Conversation with id '{name[:100]}' not found.{self._hint}"
            raise _missing(message, CONVERSATION, "conversation_not_found")
        return found

    def change(self, by: str, name: str, conversation: Conversation) -> bool:
        """Keep a conversation as it is now; durable with the next commit. Returns whether there is room for it."""
        return self._kept.note(by, name, msgspec.json.encode(conversation).decode())

    def add(self, by: str, name: str, turn_id: str, items: list[Json]) -> list[Json]:
        """Put items at the end of a conversation; durable with the next commit. Returns them as they are shown.

        Raises:
            FaultError: If there is none of that id.
        """
        found = self.conversation(by, name)
        named = _with_ids(items, turn_id)
        if named:
            self._append(by, name, found, turn_id, StoredTurn(None, named, conversation=name))
        return [_shown(item, f"{turn_id}_{place}") for place, item in enumerate(named)]

    async def items(self, by: str, name: str) -> list[Json]:
        """Return what was said in a conversation, oldest first.

        Raises:
            FaultError: If there is none of that id, or its beginning is not kept any more.
        """
        found = self.conversation(by, name)
        said = [] if found.last is None else await self._before(by, found.last)
        return [item for item in said if not (_has_id(item) and item["id"] in found.dropped)]

    async def shown_items(self, by: str, name: str) -> list[Json]:
        """Return what was said in a conversation as the format shows it, each with an id; raises the same."""
        return [_shown(item, f"{name}_{place}") for place, item in enumerate(await self.items(by, name))]

    def end(self, by: str, name: str) -> None:
        """Forget a conversation, and not what was said in it; durable with the next commit."""
        self._kept.drop(by, name)

    def _append(self, by: str, name: str, found: Conversation, turn_id: str, turn: StoredTurn) -> None:
        """Let a turn be the last of a conversation: it goes on from the one that is the last now."""
        if self._keep(by, turn_id, msgspec.structs.replace(turn, previous=found.last)):
            self.change(by, name, msgspec.structs.replace(found, last=turn_id))

    def _keep(self, by: str, name: str, turn: StoredTurn) -> bool:
        items = [item["id"] for item in turn.items if _has_id(item)]
        return self._kept.keep(by, name, items, msgspec.json.encode(turn).decode())

    def _conversation(self, by: str, name: str) -> Conversation | None:
        note = self._kept.note_of(by, name)
        return None if note is None else msgspec.json.decode(note, type=Conversation)

    async def find(self, by: str, response_id: str) -> Json:
        """Return a kept answer.

        Raises:
            FaultError: If there is none of that id.
        """
        return (await self._answered(by, response_id)).response

    def forget(self, by: str, response_id: str) -> None:
        """Forget an answer; durable with the next commit.

        Raises:
            FaultError: If there is none of that id.
        """
        if not self._kept.drop(by, response_id):
            raise _missing_response(response_id)

    @property
    def _hint(self) -> str:
        """What an error adds where no answers are kept at all, so that no other id would be found either."""
        if self._keeps_any:
            return ""
        return " This gateway keeps no answers: send the whole conversation, with `store` false."

    async def input_items(self, by: str, response_id: str) -> list[Json]:
        """Return what a kept answer was given, oldest first, each with an id.

        Raises:
            FaultError: If there is none of that id.
        """
        turn = await self._answered(by, response_id)
        before = [] if turn.previous is None else await self._before(by, turn.previous)
        return [_shown(item, f"{response_id}_{place}") for place, item in enumerate((*before, *turn.input))]

    async def _before(self, by: str, previous: str) -> Sequence[Any]:
        """Return all that was said up to an answer, and the answer."""
        turns: list[StoredTurn] = []
        wanted: str | None = previous
        while wanted is not None:
            turn = await self._turn(by, wanted)
            if turn is None:
                message = f"Previous response with id '{wanted[:100]}' not found.{self._hint}"
                raise _missing(message, PREVIOUS, "previous_response_not_found")
            turns.append(turn)
            wanted = turn.previous
        return [item for turn in reversed(turns) for item in turn.items]

    async def _item(self, by: str, item: Any) -> Any:
        """Return an item, or the one it refers to."""
        if not isinstance(item, dict) or not (item.get("type") == "item_reference" or item.keys() == {"id"}):
            return item
        wanted = item.get("id")
        place = self._kept.place_of(by, wanted) if isinstance(wanted, str) else None
        turn = None if place is None else await self._turn(by, place)
        for each in () if turn is None else turn.items:
            if _has_id(each) and each["id"] == wanted:
                return each
        message = (
            f"Item with id '{str(wanted)[:100]}' not found. Items are not kept when `store` is set to false; "
            f"send the item itself in place of the reference.{self._hint}"
        )
        raise _missing(message, "input", "item_not_found")

    async def _answered(self, by: str, response_id: str) -> StoredTurn:
        """Return the turn of a kept answer.

        Raises:
            FaultError: If there is none of that id.
        """
        turn = await self._turn(by, response_id)
        if turn is None or not turn.response:
            raise _missing_response(response_id)
        return turn

    async def _turn(self, by: str, response_id: str) -> StoredTurn | None:
        found = await self._kept.find(by, response_id)
        return None if found is None else msgspec.json.decode(found, type=StoredTurn)


def _named(conversation: object) -> str | None:
    """Return the id of the conversation that a request names, by itself or in an object."""
    named = cast("Json", conversation).get("id") if isinstance(conversation, dict) else conversation
    return named if isinstance(named, str) else None


def _shown(item: Any, name: str) -> Json:
    """Return an item of a request as the format shows it: with an id, and words as a part."""
    if not isinstance(item, dict):
        return {"type": "message", "id": f"msg_{name}", "role": "user", "content": []}
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": content}]}
    return {"id": f"{str(item.get('type'))[:3]}_{name}", **item}


_NAMED_HERE = {"message": "msg", "function_call_output": "fco", "custom_tool_call_output": "cto"}
"""What clients say, by its type, and how its ids begin; the ids of all else are the provider's."""


def _with_ids(items: Sequence[Any], name: str) -> list[Any]:
    """Return items of which each has an id that a client may take it out by."""
    return [
        {"id": f"{_NAMED_HERE[item['type']]}_{name}_{place}", **item}
        if isinstance(item, dict) and item.get("type") in _NAMED_HERE
        else item
        for place, item in enumerate(items)
    ]


def missing_item(item: str) -> FaultError:
    """Return the error of an item that is not there."""
    return _missing(f"Item with id '{item[:100]}' not found.", "item_id", "item_not_found")


def _missing_response(response_id: str) -> FaultError:
    return _missing(f"Response with id '{response_id[:100]}' not found.", "response_id", "response_not_found")


def _has_id(item: object) -> bool:
    return isinstance(item, dict) and isinstance(cast("Json", item).get("id"), str)


def _missing(message: str, param: str, code: str) -> FaultError:
    return FaultError(Fault(status=404, kind="not_found", code=code, message=message, param=param))
