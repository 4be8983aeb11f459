"""Routes under ``/api/localrun/chats``: the kept chats, for pages and programs.

GET    ""              the chats, last changed first; ``before`` is the last chat of a page
POST   ""              begin a chat
GET    /search         messages with all words of a text
GET    /changes        a number that changes with any chat; waits until it is not ``since``
GET    /{chat}         one chat: the path to its head, with ``all=1`` the messages of all branches
DELETE /{chat}         remove it for good
POST   /{chat}/messages  append a message; ``parent`` is the head unless given, 0 the beginning
GET    /{chat}/messages/{message}/images  the images of a message, in base64
POST   /{chat}/head    go to a message, from which the next one begins a branch
POST   /{chat}/title   rename it
POST   /{chat}/settings  replace its settings, such as the system prompt
GET    /{chat}/export  as Markdown or JSON, to be saved

A page follows other clients by waiting at ``/changes`` with the number of its last answer. Ids may
be shortened to their beginning. `privacy` says who may use these routes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localrun.conversations.export import images_json, to_json, to_markdown
from localrun.errors import UsageError
from localrun.server.chats.fields import (
    APPEND,
    CHANGE_SETTINGS,
    CREATE,
    HEAD,
    NEW_SETTINGS,
    NEW_TITLE,
    PARENT,
    RENAME,
    SET_HEAD,
    SETTINGS,
    TITLE,
    images_of,
    message_of,
    whole_number,
)
from localrun.server.chats.privacy import refuse_others
from localrun.server.parsing.fields import LARGEST_INTEGER
from localrun.server.parsing.options import MODEL
from localrun.server.parsing.requests import read, unless_disconnected
from localrun.server.routing.routes import Routes

if TYPE_CHECKING:
    from localrun.conversations.store import ConversationStore
    from localrun.server.chats.stored import StoredChats
    from localrun.server.parsing.table import Values

MAX_LISTED = 1000
MAX_WAIT_S = 60
CLIENT_LEFT = 499
CREATED = 201


def chat_routes(chats: StoredChats) -> Routes:
    """Return the router."""
    router = Routes("/api/localrun/chats")
    _declare_lists(router, chats)
    _declare_readers(router, chats)
    _declare_writers(router, chats)
    return router


def _declare_lists(router: Routes, chats: StoredChats) -> None:
    store = chats.store

    @router.get("")
    async def list_chats(request: Request, limit: str = "50", before: str = "") -> JSONResponse:
        refuse_others(request.scope)
        page = whole_number(limit, "limit", 1, MAX_LISTED)
        return JSONResponse(await chats.read(_page, store, page, before))

    @router.get("/search")
    async def search_chats(request: Request, text: str, limit: str = "50") -> JSONResponse:
        refuse_others(request.scope)
        hits = await chats.read(store.search, text, whole_number(limit, "limit", 1, MAX_LISTED))
        return JSONResponse({"hits": [hit.to_json() for hit in hits]})

    @router.get("/changes")
    async def wait_for_change(request: Request, since: str = "", wait_s: str = "0") -> Response:
        refuse_others(request.scope)
        last = whole_number(since, "since", 0, LARGEST_INTEGER) if since else None
        longest_s = whole_number(wait_s, "wait_s", 0, MAX_WAIT_S)
        revision = await unless_disconnected(request, chats.changed(last, longest_s))
        if revision is None:
            return Response(status_code=CLIENT_LEFT)
        return JSONResponse({"revision": revision})


def _declare_readers(router: Routes, chats: StoredChats) -> None:
    store = chats.store

    @router.get("/{chat}")
    async def show_chat(request: Request, chat: str, all: str = "0") -> Response:  # noqa: A002 - its name in the query
        refuse_others(request.scope)
        has_all = bool(whole_number(all, "all", 0, 1))
        body = await chats.read(_shown, store, chat, has_all=has_all)
        return Response(body, media_type="application/json")

    @router.get("/{chat}/messages/{message}/images")
    async def show_images(request: Request, chat: str, message: str) -> Response:
        refuse_others(request.scope)
        number = whole_number(message, "message", 1, LARGEST_INTEGER)
        body = await chats.read(_images, store, chat, number)
        return Response(body, media_type="application/json")

    @router.get("/{chat}/export")
    async def export_chat(request: Request, chat: str, format: str = "md") -> Response:  # noqa: A002 - its name in the query
        refuse_others(request.scope)
        if format not in EXPORTS:
            raise UsageError(f"format must be one of {', '.join(EXPORTS)}", param="format")
        export, media_type = EXPORTS[format]
        found = await chats.read(store.find, chat)
        name = f'attachment; filename="chat-{found.id}.{format}"'
        body = await chats.read(export, store, found.id)
        return Response(body, media_type=media_type, headers={"content-disposition": name})


def _declare_writers(router: Routes, chats: StoredChats) -> None:
    store = chats.store

    @router.post("")
    async def create_chat(request: Request) -> JSONResponse:
        refuse_others(request.scope)
        chats.refuse_unless_kept()
        values = await read(request, CREATE.read)
        chat_id = await chats.write(
            store.create, values[MODEL], settings=values[SETTINGS], title=values[TITLE] or ""
        )
        return JSONResponse({"id": chat_id}, CREATED)

    @router.post("/{chat}/messages")
    async def append_message(request: Request, chat: str) -> JSONResponse:
        refuse_others(request.scope)
        chats.refuse_unless_kept()
        values = await read(request, APPEND.read)
        message_id = await chats.write(_append, store, chat, values)
        return JSONResponse({"id": message_id}, CREATED)

    @router.post("/{chat}/head")
    async def set_head(request: Request, chat: str) -> JSONResponse:
        refuse_others(request.scope)
        values = await read(request, SET_HEAD.read)
        await chats.write(_set_head, store, chat, values[HEAD] or None)
        return JSONResponse({"status": "success"})

    @router.post("/{chat}/title")
    async def rename_chat(request: Request, chat: str) -> JSONResponse:
        refuse_others(request.scope)
        values = await read(request, RENAME.read)
        await chats.write(_rename, store, chat, values[NEW_TITLE])
        return JSONResponse({"status": "success"})

    @router.post("/{chat}/settings")
    async def change_settings(request: Request, chat: str) -> JSONResponse:
        refuse_others(request.scope)
        values = await read(request, CHANGE_SETTINGS.read)
        await chats.write(_change_settings, store, chat, values[NEW_SETTINGS])
        return JSONResponse({"status": "success"})

    @router.delete("/{chat}")
    async def remove_chat(request: Request, chat: str) -> JSONResponse:
        refuse_others(request.scope)
        await chats.write(store.remove, chat)  # the whole id: a beginning is too easily wrong
        return JSONResponse({"status": "success"})


def _page(store: ConversationStore, limit: int, before: str) -> dict[str, Any]:
    """Return a page of chats, and the chat to begin the next one behind, if there is one."""
    chats = store.chats(limit + 1, store.find(before).id if before else None)
    page = chats[:limit]
    following = {"next": page[-1].id} if len(chats) > limit else {}
    return {"chats": [chat.to_json() for chat in page], **following}


def _shown(store: ConversationStore, chat: str, *, has_all: bool) -> bytes:
    """Return a chat as JSON, written here in a thread: it may have many megabytes."""
    found = store.find(chat)
    messages = store.messages(found.id) if has_all else store.path(found.id)
    return json.dumps(to_json(found, store.settings(found.id), messages)).encode()


def _exported_json(store: ConversationStore, chat: str) -> bytes:
    """Return a chat with all its branches and images."""
    found = store.find(chat)
    messages = store.messages(found.id)
    images = store.images(found.id, [one.id for one in messages if one.num_images])
    return json.dumps(to_json(found, store.settings(found.id), messages, images)).encode()


def _images(store: ConversationStore, chat: str, message_id: int) -> bytes:
    found = store.images(store.find(chat).id, [message_id])
    return json.dumps({"images": [], **images_json(found.get(message_id, ()))}).encode()


def _exported_markdown(store: ConversationStore, chat: str) -> bytes:
    found = store.find(chat)
    return to_markdown(found, store.path(found.id)).encode()


def _append(store: ConversationStore, chat: str, values: Values) -> int:
    chat_id, message, images = store.find(chat).id, message_of(values), images_of(values)
    parent = values[PARENT]
    if parent is None:
        return store.append_to_head(chat_id, message, images=images)
    return store.append(chat_id, message, parent=parent or None, images=images)


def _set_head(store: ConversationStore, chat: str, message_id: int | None) -> None:
    store.set_head(store.find(chat).id, message_id)


def _rename(store: ConversationStore, chat: str, title: str) -> None:
    store.rename(store.find(chat).id, title)


def _change_settings(store: ConversationStore, chat: str, settings: dict[str, Any]) -> None:
    store.change_settings(store.find(chat).id, settings)


EXPORTS = {
    "md": (_exported_markdown, "text/markdown"),
    "json": (_exported_json, "application/json"),
}
