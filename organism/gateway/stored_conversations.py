"""Conversations that are kept here between requests, so that a client of OpenAI's responses need not send them again.

A request may go on from an answer (``previous_response_id``) or name items of one (``item_reference``). It is made
whole before it is read: what is sent to the provider, held and paid is the whole conversation.
"""

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from organism.control.stored_answers import StoredAnswers
from organism.formats.errors.faults import Fault, FaultError
from organism.formats.openai_responses.server_items import items_of
from organism.formats.server_format import Json

PREVIOUS = "previous_response_id"


class StoredTurn(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of one request and its answer.

    Attributes:
        previous: The answer it goes on from.
        input: What was said with it, references already replaced by what they refer to.
        response: The answer as the client got it.
    """

    previous: str | None
    input: list[Any]
    response: Json = {}


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
        if not isinstance(previous, str):
            return raw | ({} if isinstance(said, str) else {"input": items}), StoredTurn(None, items)
        before = await self._before(by, previous)
        return raw | {"input": [*before, *items]}, StoredTurn(previous, items)

    def keep(self, by: str, turn: StoredTurn, response: Json) -> None:
        """Keep an answer; durable with the next commit."""
        whole = msgspec.structs.replace(turn, response=response)
        items = [item["id"] for item in (*turn.input, *response["output"]) if _has_id(item)]
        self._kept.keep(by, response["id"], items, msgspec.json.encode(whole).decode())

    async def find(self, by: str, response_id: str) -> Json:
        """Return a kept answer.

        Raises:
            FaultError: If there is none of that id.
        """
        turn = await self._turn(by, response_id)
        if turn is None:
            raise _missing(f"Response with id '{response_id[:100]}' not found.", "response_id", "response_not_found")
        return turn.response

    def forget(self, by: str, response_id: str) -> None:
        """Forget an answer; durable with the next commit.

        Raises:
            FaultError: If there is none of that id.
        """
        if not self._kept.drop(by, response_id):
            raise _missing(f"Response with id '{response_id[:100]}' not found.", "response_id", "response_not_found")

    @property
    def _hint(self) -> str:
        """What a client needs to know that would find nothing whatever it asked for."""
        return (
            ""
            if self._keeps_any
            else " This gateway keeps no answers: send the whole conversation, with `store` false."
        )

    async def input_items(self, by: str, response_id: str) -> list[Json]:
        """Return what a kept answer was given, oldest first, each with an id.

        Raises:
            FaultError: If there is none of that id.
        """
        turn = await self._turn(by, response_id)
        if turn is None:
            raise _missing(f"Response with id '{response_id[:100]}' not found.", "response_id", "response_not_found")
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
        return [item for turn in reversed(turns) for item in (*turn.input, *turn.response["output"])]

    async def _item(self, by: str, item: Any) -> Any:
        """Return an item, or the one it refers to."""
        if not isinstance(item, dict) or not (item.get("type") == "item_reference" or item.keys() == {"id"}):
            return item
        wanted = item.get("id")
        place = self._kept.place_of(by, wanted) if isinstance(wanted, str) else None
        turn = None if place is None else await self._turn(by, place)
        for each in () if turn is None else (*turn.input, *turn.response["output"]):
            if _has_id(each) and each["id"] == wanted:
                return each
        message = (
            f"Item with id '{str(wanted)[:100]}' not found. Items are not kept when `store` is set to false; "
            f"send the item itself in place of the reference.{self._hint}"
        )
        raise _missing(message, "input", "item_not_found")

    async def _turn(self, by: str, response_id: str) -> StoredTurn | None:
        found = await self._kept.find(by, response_id)
        return None if found is None else msgspec.json.decode(found, type=StoredTurn)


def _shown(item: Any, name: str) -> Json:
    """Return an item of a request as the format shows it: with an id, and words as a part."""
    if not isinstance(item, dict):
        return {"type": "message", "id": f"msg_{name}", "role": "user", "content": []}
    content = item.get("content")
    if isinstance(content, str):
        kind = "output_text" if item.get("role") == "assistant" else "input_text"
        item = {**item, "content": [{"type": kind, "text": content}]}
    return {"id": f"{str(item.get('type'))[:3]}_{name}", **item}


def _has_id(item: object) -> bool:
    return isinstance(item, dict) and isinstance(cast("Json", item).get("id"), str)


def _missing(message: str, param: str, code: str) -> FaultError:
    return FaultError(Fault(status=404, kind="not_found", code=code, message=message, param=param))
