"""``localrun chats export`` and ``rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.chats.completion import complete_chat
from localrun.cli.chats.reading import MAX_SHOWN, ChatArgument
from localrun.cli.completion import one_of
from localrun.cli.options import AsJson
from localrun.cli.output import Output, confirms, counted

if TYPE_CHECKING:
    from localrun.conversations.message import ChatSummary
    from localrun.conversations.store import ConversationStore

FORMATS = ("md", "json")


def chats_export(
    chat: ChatArgument,
    *,
    output_format: Annotated[
        str, Option("--format", help="md (Markdown) or json.", autocompletion=one_of(FORMATS))
    ] = "md",
    has_branches: Annotated[
        bool, Option("--branches", help="With json: the messages of all branches.")
    ] = False,
) -> None:
    """Print a chat as Markdown, or as JSON with its settings.

    Example: localrun chats export 1f3a > chat.md
    """
    import os

    from localrun.conversations.export import to_json, to_markdown
    from localrun.conversations.location import open_conversations
    from localrun.errors import UsageError

    if output_format not in FORMATS:
        raise UsageError(f"{output_format} is none of {', '.join(FORMATS)}", hint="--format md")
    if has_branches and output_format != "json":
        raise UsageError("Markdown has one branch", hint="--branches --format json")
    store = open_conversations(os.environ)
    found = store.find(chat)
    messages = store.messages(found.id) if has_branches else store.path(found.id)
    if output_format == "json":
        images = store.images(found.id, [one.id for one in messages if one.num_images])
        Output().json(to_json(found, store.settings(found.id), messages, images))
    else:
        Output().text(to_markdown(found, messages))


def chats_remove(
    chats: Annotated[
        list[str] | None,
        Argument(
            metavar="ID", help="Ids of chats, or their beginnings.", autocompletion=complete_chat
        ),
    ] = None,
    *,
    removes_all: Annotated[bool, Option("--all", help="Remove all kept chats.")] = False,
    is_sure: Annotated[bool, Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove chats for good, with all their branches.

    Several chats ask for confirmation. The chat of a running terminal begins
    anew in the store with its next message.

    Example: localrun chats rm 1f3a
    """
    import os

    from localrun.conversations.location import open_conversations
    from localrun.errors import UsageError

    if bool(chats) == removes_all:
        raise UsageError("name chats, or --all", hint="localrun chats list")
    store, output = open_conversations(os.environ), Output(as_json=as_json)
    found = _all(store) if removes_all else {one.id: one for one in map(store.find, chats or ())}
    many = len(found) > 1 or (removes_all and found)
    if many and not is_sure and not confirms(f"remove {counted(len(found), 'chat')}?"):
        raise UsageError("nothing was removed", hint="localrun chats rm --yes ...   does not ask")
    store.remove(*found)
    for chat in found.values():
        if as_json:
            output.event({"id": chat.id, "title": chat.title})
        else:
            output.line(f"removed {chat.id} {chat.title}")


def _all(store: ConversationStore) -> dict[str, ChatSummary]:
    """Return all chats."""
    found: dict[str, ChatSummary] = {}
    while page := store.chats(MAX_SHOWN, next(reversed(found), None)):
        found |= {chat.id: chat for chat in page}
    return found
