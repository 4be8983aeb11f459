"""Commands for whole conversations: cleared, saved as a model, loaded, listed, exported.

Invariant: a conversation that is left stays in the store of kept chats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.models import find, use_model
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.errors import UsageError
from localrun.names.adapters import split_adapters

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

FORMATS = ("md", "json")
NUM_LISTED = 20


def clear(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all commands
    """Begin a new conversation with the same settings."""
    chat.session.clear()
    chat.kept.begin_new()
    chat.transcript.note("Cleared session context")


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


COMMANDS = (
    ChatCommand(name="/clear", aliases=("/new",), about="start a new conversation", execute=clear),
    ChatCommand(
        name="/load",
        usage="NAME",
        about="start a conversation with a model that /save made",
        execute=load_model,
        arguments=(ArgumentKind.MODEL,),
    ),
)
