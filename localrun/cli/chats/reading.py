"""``localrun chats list``, ``show`` and ``search``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.chats.completion import complete_chat
from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_seconds
from localrun.terminal import plain

if TYPE_CHECKING:
    from localrun.conversations.message import ChatSummary

MAX_SHOWN = 1000
ChatArgument = Annotated[
    str,
    Argument(metavar="ID", help="Id of the chat, or its beginning.", autocompletion=complete_chat),
]
LimitOption = Annotated[
    int, Option("--limit", "-n", min=1, max=MAX_SHOWN, help="Maximum number of rows.")
]


def chats_list(
    *,
    limit: LimitOption = 20,
    before: Annotated[
        str | None, Option(help="Id of a chat: list those that were changed before it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the kept chats, the last changed first.

    Example: localrun chats list
    """
    import os

    from localrun.conversations.location import open_conversations

    store, output = open_conversations(os.environ), Output(as_json=as_json)
    last = store.find(before).id if before else None
    chats = store.chats(limit, last)
    if as_json:
        output.json([chat.to_json() for chat in chats])
    elif chats:
        output.table(("ID", "CHANGED", "MODEL", "MESSAGES", "TITLE"), list(map(_row, chats)))
    else:
        output.note("no chat is kept; localrun run guide   begins one")


def chats_show(chat: ChatArgument, *, as_json: AsJson = False) -> None:
    """Show the messages of a chat, on the branch that it was left on.

    Example: localrun chats show 1f3a
    """
    import os

    from localrun.conversations.export import to_json, to_markdown
    from localrun.conversations.location import open_conversations

    store, output = open_conversations(os.environ), Output(as_json=as_json)
    found = store.find(chat)
    messages = store.path(found.id)
    if as_json:
        output.json(to_json(found, store.settings(found.id), messages))
    else:
        output.text(to_markdown(found, messages))


def chats_search(
    text: Annotated[list[str], Argument(help="Words that a message must contain.")],
    *,
    limit: LimitOption = 20,
    as_json: AsJson = False,
) -> None:
    """Search the messages of all kept chats, also for parts of words.

    Example: localrun chats search llama
    """
    import os

    from localrun.cli.prompt import as_text
    from localrun.conversations.location import open_conversations

    words = " ".join(as_text(word, "the text") for word in text)
    hits, output = open_conversations(os.environ).search(words, limit), Output(as_json=as_json)
    if as_json:
        output.json([hit.to_json() for hit in hits])
    elif hits:
        rows = [(hit.chat.id, hit.role, hit.excerpt, hit.chat.title) for hit in hits]
        output.table(("ID", "ROLE", "TEXT", "CHAT"), rows)
    else:
        output.note(f"no kept message contains {plain(words)}")


def _row(chat: ChatSummary) -> tuple[str, str, str, str, str]:
    age = human_seconds(max(0.0, time.time() - chat.updated_s))
    return chat.id, f"{age} ago", chat.model, str(chat.num_messages), chat.title
