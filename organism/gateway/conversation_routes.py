"""The routes of stored conversations, for the callers they belong to.

Source: the reference of ``/v1/conversations`` of OpenAI's API.
"""

from typing import Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.params import FromPath
from msgspec import Meta
from msgspec.structs import replace

from organism.api.scopes import caller_of, needs
from organism.formats.errors.faults import bad_request
from organism.formats.openai_responses.server_items import items_of
from organism.formats.server_format import Json, convert
from organism.gateway.request_handler import Gateway, gateway_of, parsed
from organism.gateway.stored_answer_routes import page_of, said
from organism.gateway.stored_conversations import Conversation, missing_item

CONVERSATIONS = "/v1/conversations"
_DROPPED_MAX = 1_000
_Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]


class _Begun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metadata: _Metadata = {}
    items: Annotated[list[Json], Meta(max_length=100)] = []


class _Added(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[list[Json], Meta(min_length=1, max_length=100)]


class _Labelled(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    metadata: _Metadata


def conversation_handlers(gateway: Gateway) -> list[Any]:
    """Return the handlers of conversations."""

    @post("/", opt=needs("send"), include_in_schema=False, status_code=200)
    async def begin(request: Request[Any, Any, Any]) -> Response[Json]:
        """Begin a conversation."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            asked = convert(parsed(await request.body() or b"{}"), _Begun)
            meta = serving.meta()
            begun = Conversation(meta.created_s, asked.metadata)
            serving.conversations.begin(caller_of(request).name, f"conv_{meta.id}", begun, _items(asked.items))
            await serving.commit()
            return _shown(f"conv_{meta.id}", begun)

        return await said(answer)

    @get("/{name:str}", opt=needs("send"), include_in_schema=False)
    async def show(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Show a conversation."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            return _shown(name, serving.conversations.conversation(caller_of(request).name, name))

        return await said(answer)

    @post("/{name:str}", opt=needs("send"), include_in_schema=False, status_code=200)
    async def label(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Label a conversation anew."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            asked = convert(parsed(await request.body()), _Labelled)
            by = caller_of(request).name
            labelled = replace(serving.conversations.conversation(by, name), metadata=asked.metadata)
            serving.conversations.change(by, name, labelled)
            await serving.commit()
            return _shown(name, labelled)

        return await said(answer)

    @delete("/{name:str}", opt=needs("send"), include_in_schema=False, status_code=200)
    async def forget(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Forget a conversation."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            serving.conversations.conversation(caller_of(request).name, name)
            serving.conversations.end(caller_of(request).name, name)
            await serving.commit()
            return {"id": name, "object": "conversation.deleted", "deleted": True}

        return await said(answer)

    return [begin, show, label, forget, *_item_handlers(gateway)]


def _item_handlers(gateway: Gateway) -> list[Any]:
    """Return the handlers of a conversation's items."""

    @get("/{name:str}/items", opt=needs("send"), include_in_schema=False)
    async def show_items(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Show what was said in a conversation, a page at a time."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            return page_of(await serving.conversations.shown_items(caller_of(request).name, name), request.query_params)

        return await said(answer)

    @post("/{name:str}/items", opt=needs("send"), include_in_schema=False, status_code=200)
    async def add_items(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[Json]:
        """Put items at the end of a conversation."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            asked = convert(parsed(await request.body()), _Added)
            by, turn_id = caller_of(request).name, f"items_{serving.meta().id}"
            added = serving.conversations.add(by, name, turn_id, _items(asked.items))
            await serving.commit()
            return page_of(added, {"order": "asc", "limit": "100"})

        return await said(answer)

    async def found(request: Request[Any, Any, Any], name: str, item: str) -> Json:
        kept = gateway_of(request.scope, gateway).conversations
        items = await kept.shown_items(caller_of(request).name, name)
        wanted = next((each for each in items if each["id"] == item), None)
        if wanted is None:
            raise missing_item(item)
        return wanted

    @get("/{name:str}/items/{item:str}", opt=needs("send"), include_in_schema=False)
    async def show_item(request: Request[Any, Any, Any], name: FromPath[str], item: FromPath[str]) -> Response[Json]:
        """Show one item."""
        return await said(lambda: found(request, name, item))

    @delete("/{name:str}/items/{item:str}", opt=needs("send"), include_in_schema=False, status_code=200)
    async def drop_item(request: Request[Any, Any, Any], name: FromPath[str], item: FromPath[str]) -> Response[Json]:
        """Take an item out of a conversation."""
        serving = gateway_of(request.scope, gateway)

        async def answer() -> Json:
            await found(request, name, item)
            by = caller_of(request).name
            now = serving.conversations.conversation(by, name)
            if len(now.dropped) >= _DROPPED_MAX:
                raise bad_request(f"{_DROPPED_MAX:,} items were taken out already; begin another conversation")
            changed = replace(now, dropped=(*now.dropped, item))
            serving.conversations.change(by, name, changed)
            await serving.commit()
            return _shown(name, changed)

        return await said(answer)

    return [show_items, add_items, show_item, drop_item]


def _items(items: list[Json]) -> list[Json]:
    """Return items with the type of messages filled in.

    Raises:
        FaultError: If the type of one is not text.
    """
    for place, item in enumerate(items):
        if not isinstance(item.get("type", ""), str):
            raise bad_request(f"items[{place}].type: it must be a text", f"items[{place}].type")
    typed: list[Json] = items_of(items)
    return typed


def _shown(name: str, conversation: Conversation) -> Json:
    return {
        "id": name,
        "object": "conversation",
        "created_at": conversation.created_s,
        "metadata": conversation.metadata,
    }
