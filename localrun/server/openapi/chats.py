"""OpenAPI description of the kept chats."""

from __future__ import annotations

from localrun.server.chats.fields import APPEND, CHANGE_SETTINGS, CREATE, RENAME, SET_HEAD
from localrun.server.openapi.operation import Operation, components, operation
from localrun.server.parsing.json_schema import (
    COUNT,
    NUMBER,
    OBJECT,
    TEXT,
    Schema,
    listed,
    maybe,
    record,
    ref,
)

PATH = "/api/localrun/chats"


def schemas() -> dict[str, Schema]:
    """Return the named schemas."""
    return {
        **components(CREATE, APPEND),
        "KeptChat": record(_chat()),
        "KeptMessage": record(
            {"id": COUNT, "role": TEXT, "content": TEXT, "created_s": NUMBER},
            {
                "parent": COUNT,
                "thinking": TEXT,
                "tool_calls": listed(OBJECT),
                "tool_name": TEXT,
                "attachments": listed(TEXT),
                "num_images": COUNT,
                "model": TEXT,
            },
        ),
    }


def operations() -> dict[str, Operation]:
    """Return the operations by method and path."""
    identified, done = record({"id": TEXT}), record({"status": TEXT})
    whole = {"format_version": COUNT, "settings": OBJECT, "messages": listed(ref("KeptMessage"))}
    exported = operation("Export a kept chat", answer=OBJECT)
    exported["responses"]["200"]["content"]["text/markdown"] = {"schema": TEXT}
    return {
        f"GET {PATH}": operation(
            "List the kept chats, the last changed first",
            answer=record({"chats": listed(ref("KeptChat"))}, {"next": TEXT}),
        ),
        f"POST {PATH}": operation("Begin a chat", body=CREATE, answer=identified, status=201),
        f"GET {PATH}/search": operation(
            "Search the messages of the kept chats", answer=record({"hits": listed(_hit())})
        ),
        f"GET {PATH}/changes": operation(
            "Wait until a chat changes", answer=record({"revision": COUNT})
        ),
        f"GET {PATH}/{{chat}}": operation(
            "Return a chat with its messages", answer=record({**_chat(), **whole})
        ),
        f"DELETE {PATH}/{{chat}}": operation("Remove a chat", answer=done),
        f"POST {PATH}/{{chat}}/messages": operation(
            "Append a message to a chat", body=APPEND, answer=record({"id": COUNT}), status=201
        ),
        f"GET {PATH}/{{chat}}/messages/{{message}}/images": operation(
            "Return the images of a message in base64", answer=record({"images": listed(TEXT)})
        ),
        f"POST {PATH}/{{chat}}/head": operation(
            "Go to a message of a chat", body=SET_HEAD, answer=done
        ),
        f"POST {PATH}/{{chat}}/title": operation("Rename a chat", body=RENAME, answer=done),
        f"POST {PATH}/{{chat}}/settings": operation(
            "Replace the settings of a chat", body=CHANGE_SETTINGS, answer=done
        ),
        f"GET {PATH}/{{chat}}/export": exported,
    }


def _chat() -> dict[str, Schema]:
    return {
        "id": TEXT,
        "title": TEXT,
        "model": TEXT,
        "created_s": NUMBER,
        "updated_s": NUMBER,
        "num_messages": COUNT,
        "head": maybe(COUNT),
    }


def _hit() -> Schema:
    return record({"chat": ref("KeptChat"), "message": COUNT, "role": TEXT, "excerpt": TEXT})
