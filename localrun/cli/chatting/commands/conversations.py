"""Commands for whole conversations: cleared, saved as a model, loaded, listed, exported.

Invariant: a conversation that is left stays in the store of kept chats.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.models import find, use_model
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.composer import KeyChoice
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.cli.chatting.session import sent_messages
from localrun.cli.output import human_seconds
from localrun.errors import StorageError, UsageError
from localrun.names.adapters import split_adapters
from localrun.private import open_private

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

REPLACE = (KeyChoice("y", "replace it"), KeyChoice("n", "keep it", is_default=True))
FORMATS = ("md", "json")
NUM_LISTED = 20
LATEST = ":latest"


def clear(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Begin a new conversation with the same settings."""
    chat.session.clear()
    chat.kept.begin_new()
    chat.transcript.note("Cleared session context")


def save(chat: Chat, argument: str) -> None:
    """Make a model of the chat: its settings and its messages.

    Raises:
        LocalrunError: no valid name, the chat is too long, or the disk is full.
    """
    from localrun.cli.chatting.saving import ChatToSave, is_taken, save_chat

    if not argument:
        raise UsageError("which name?", hint="/save NAME")
    question = f"{argument} exists already. Replace it?"
    if is_taken(chat.workspace, argument) and chat.composer.choose(question, REPLACE) != "y":
        chat.transcript.note("Nothing was saved.")
        return
    session, settings = chat.session, chat.session.settings
    keep_alive = {} if settings.keep_alive is None else {"keep_alive": settings.keep_alive}
    sampling = dict(settings.sampling)
    others = {
        "format": settings.output_format,
        "think": settings.think,
        "draft": sampling.pop("draft", None),
    }
    saved = save_chat(
        chat.workspace,
        argument,
        ChatToSave(
            model=settings.request_model,
            system=settings.system,
            parameters={**sampling, **keep_alive},
            messages=sent_messages(session.messages),
            other_settings=[name for name, value in others.items() if value is not None],
        ),
    )
    chat.transcript.note(f"Created new model '{argument}'")
    if saved.left_out:
        chat.transcript.note(f"A model keeps no {', no '.join(saved.left_out)}.")


def load_model(chat: Chat, argument: str) -> None:
    """Begin a new conversation with a model, such as one that ``/save`` made.

    Raises:
        LocalrunError: the model does not exist or does not load.
    """
    if not argument:
        raise UsageError("which model?", hint="/load NAME")
    base, adapters = split_adapters(find(chat, argument).name)
    chat.transcript.note(f"Loading model '{argument}'")
    use_model(chat, base, tuple(map(str, adapters)))
    chat.session.settings.system = None  # the model has its own
    chat.session.clear()
    chat.kept.begin_new()
    chat.show_recipe_messages()


def list_chats(chat: Chat, argument: str) -> None:
    """List kept chats, or go on with one.

    Raises:
        LocalrunError: there is no such chat, or chats are not kept.
    """
    store = chat.kept.store
    if store is None:
        raise UsageError("chats are not kept", hint="start without --no-save and LOCALRUN_NOSAVE")
    if argument:
        chat.go_on_with(store.find(argument).id)
        return
    rows = [
        (one.id, one.title, one.model.removesuffix(LATEST), _when(one.updated_s))
        for one in store.chats(NUM_LISTED)
    ]
    chat.transcript.table(("ID", "TITLE", "MODEL", "CHANGED"), rows)
    if rows:
        chat.transcript.note("/chats ID goes on with one")


def export(chat: Chat, argument: str) -> None:
    """Print the conversation as Markdown or JSON, or write it to a new file.

    Raises:
        LocalrunError: an unknown format, or the file cannot be written.
    """
    import json

    from localrun.conversations.export import to_json, to_markdown

    kind, _, name = argument.partition(" ")
    if kind not in FORMATS:
        raise UsageError("which format?", hint="/export md [FILE], or /export json [FILE]")
    found = chat.kept.exported(chat.session)
    if kind == "md":
        text = to_markdown(found.summary, found.messages)
    else:
        settings = chat.session.settings.to_json()
        fields = to_json(found.summary, settings, found.messages, found.images)
        text = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
    if not name.strip():
        chat.transcript.text(text)
        return
    path = Path(name.strip()).expanduser()
    _write_new(path, text)
    chat.transcript.note(f"Wrote {path}")


def _write_new(path: Path, text: str) -> None:
    try:
        with open(path, "x", encoding="utf-8", opener=open_private) as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists already", hint="choose another name") from error
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def _when(moment_s: float) -> str:
    return f"{human_seconds(max(0.0, time.time() - moment_s))} ago"


COMMANDS = (
    ChatCommand(name="/save", usage="NAME", about="make a model of this chat", execute=save),
    ChatCommand(name="/clear", aliases=("/new",), about="start a new conversation", execute=clear),
    ChatCommand(
        name="/load",
        usage="NAME",
        about="start a conversation with a model that /save made",
        execute=load_model,
        arguments=(ArgumentKind.MODEL,),
    ),
    ChatCommand(
        name="/chats",
        usage="[ID]",
        about="list the kept chats, or go on with one",
        execute=list_chats,
        arguments=(ArgumentKind.CHAT,),
    ),
    ChatCommand(
        name="/export",
        usage="md|json [FILE]",
        about="print the conversation, or write it to a file",
        execute=export,
        arguments=(FORMATS, ArgumentKind.PATH),
    ),
)
