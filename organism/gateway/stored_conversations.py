"""Keeps conversations between requests, so that clients of OpenAI's responses need not send them again.

A request may continue an answer (``previous_response_id``), refer to items of one (``item_reference``), or belong to a
conversation, which is kept as a chain of turns. Such a request is completed before it is read: the whole conversation
is sent to the provider, held and paid.
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
    """A kept request with its answer.

    Attributes:
        previous: The id of the turn it continues.
        input: The request's own items, with references resolved.
        response: The answer as the client got it; empty if items were added to a conversation without an answer.
        conversation: The conversation it belongs to.
    """

    previous: str | None
    input: list[Any]
    response: Json = {}
    conversation: str | None = None

    @property
    def items(self) -> list[Any]:
        """The items of the request and of the answer."""
        return [*self.input, *self.response.get("output", ())]


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kept conversation.

    Attributes:
        created_s: When it was begun, in seconds since the Unix epoch.
        metadata: The client's labels.
        last: The id of its last turn, if it has any.
        dropped: Ids of deleted items.
    """

    created_s: int
    metadata: dict[str, str] = {}
    last: str | None = None
    dropped: tuple[str, ...] = ()


class StoredConversations:
    """Completes requests from kept turns, and keeps new ones.

    Args:
        kept: The store.
    """

    def __init__(self, kept: StoredAnswers) -> None:
        self._kept = kept
        self._keeps_any = True

    def bound(self, answers: int, days: int) -> None:
        """Bound the number and the age of each caller's answers, and forget what is beyond."""
        self._keeps_any = answers > 0
        self._kept.bound(answers=answers, days=days)

    async def made_whole(self, by: str, raw: Json) -> tuple[Json, StoredTurn]:
        """Return a request with its whole conversation as input, and the turn to keep with its answer.

        Args:
            by: The caller's name.
            raw: The request as it came, not validated yet.

        Raises:
            FaultError: It refers to something that is not kept.
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
        """Create a conversation with items; durable with the next commit.

        Raises:
            FaultError: If no answers are kept here.
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
        """Store a conversation's record; durable with the next commit. Returns whether there was room for it."""
        return self._kept.note(by, name, msgspec.json.encode(conversation).decode())

    def add(self, by: str, name: str, turn_id: str, items: list[Json]) -> list[Json]:
        """Append items to a conversation; durable with the next commit. Returns them as clients see them.

        Raises:
            FaultError: If there is none of that id.
        """
        found = self.conversation(by, name)
        named = _with_ids(items, turn_id)
        if named:
            self._append(by, name, found, turn_id, StoredTurn(None, named, conversation=name))
        return [_shown(item, f"{turn_id}_{place}") for place, item in enumerate(named)]

    async def items(self, by: str, name: str) -> list[Json]:
        """Return a conversation's items, oldest first.

        Raises:
            FaultError: If there is none of that id, or its beginning is no longer kept.
        """
        found = self.conversation(by, name)
        said = [] if found.last is None else await self._before(by, found.last)
        return [item for item in said if not (_has_id(item) and item["id"] in found.dropped)]

    async def shown_items(self, by: str, name: str) -> list[Json]:
        """Return a conversation's items as clients see them, each with an id; raises what :meth:`items` does."""
        return [_shown(item, f"{name}_{place}") for place, item in enumerate(await self.items(by, name))]

    def end(self, by: str, name: str) -> None:
        """Delete a conversation but not its turns; durable with the next commit."""
        self._kept.drop(by, name)

    def _append(self, by: str, name: str, found: Conversation, turn_id: str, turn: StoredTurn) -> None:
        """Append a turn to a conversation."""
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
        """Delete an answer; durable with the next commit.

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
        """Return the input of a kept answer, earlier turns included, oldest first, each item with an id.

        Raises:
            FaultError: If there is none of that id.
        """
        turn = await self._answered(by, response_id)
        before = [] if turn.previous is None else await self._before(by, turn.previous)
        return [_shown(item, f"{response_id}_{place}") for place, item in enumerate((*before, *turn.input))]

    async def _before(self, by: str, previous: str) -> Sequence[Any]:
        """Return all items up to and including a turn, oldest first."""
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
        """Return an item, or the item that it refers to."""
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
    """Return the id of the conversation that a request names, as text or in an object."""
    named = cast("Json", conversation).get("id") if isinstance(conversation, dict) else conversation
    return named if isinstance(named, str) else None


def _shown(item: Any, name: str) -> Json:
    """Return an item as clients see it: with an id, and text as a content part."""
    if not isinstance(item, dict):
        return {"type": "message", "id": f"msg_{name}", "role": "user", "content": []}
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": content}]}
    return {"id": f"{str(item.get('type'))[:3]}_{name}", **item}


_NAMED_HERE = {"message": "msg", "function_call_output": "fco", "custom_tool_call_output": "cto"}
"""Id prefixes of items that clients send, by type; all other items have ids of the provider's."""


def _with_ids(items: Sequence[Any], name: str) -> list[Any]:
    """Return items with ids, by which clients can delete them."""
    return [
        {"id": f"{_NAMED_HERE[item['type']]}_{name}_{place}", **item}
        if isinstance(item, dict) and item.get("type") in _NAMED_HERE
        else item
        for place, item in enumerate(items)
    ]


def missing_item(item: str) -> FaultError:
    """Return the error for an item that does not exist."""
    return _missing(f"Item with id '{item[:100]}' not found.", "item_id", "item_not_found")


def _missing_response(response_id: str) -> FaultError:
    return _missing(f"Response with id '{response_id[:100]}' not found.", "response_id", "response_not_found")


def _has_id(item: object) -> bool:
    return isinstance(item, dict) and isinstance(cast("Json", item).get("id"), str)


def _missing(message: str, param: str, code: str) -> FaultError:
    return FaultError(Fault(status=404, kind="not_found", code=code, message=message, param=param))
