"""Commands for files: text documents and images that the next message takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.attached import note_tokens, rules_of
from localrun.cli.chatting.attaching.attachments import read_documents, read_media
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.completion.typed_words import typed_words
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.cli.chatting.chat import Chat

OFF = ("off", "none")


def add_files(chat: Chat, argument: str) -> None:
    """Add text files, folders and globs to the next message; ``off`` removes them.

    Raises:
        LocalrunError: a file does not exist, or is no text.
    """
    if not argument:
        names = ", ".join(one.name for one in chat.documents) or "no files"
        chat.transcript.note(
            f"{names} with the next message; /file PATH... adds, /file off removes"
        )
    elif argument in OFF:
        chat.documents = []
        chat.transcript.note("The next message takes no files along.")
    else:
        documents = read_documents(_paths(argument), rules_of(chat))
        chat.documents = [*chat.documents, *documents]
        note_tokens(chat, documents)


def add_image(chat: Chat, argument: str) -> None:
    """Refuse an image: no model here sees yet.

    Raises:
        LocalrunError: always.
    """
    if not argument:
        raise UsageError("which image?", hint="/image PATH")
    model = chat.workspace.models.find_model(chat.session.settings.request_model)
    if "vision" not in model.details.capabilities:
        raise UsageError(
            f"{model.name} does not see: it has no capability vision",
            hint="/show info   lists the capabilities of the model",
        )
    read_media(_paths(argument)[0], rules_of(chat))


def _paths(argument: str) -> list[str]:
    words = typed_words(argument + " ")
    return [*words.complete, *([words.current] if words.current else [])]


COMMANDS = (
    ChatCommand(
        name="/file",
        usage="PATH...",
        about="add text files to the next message; folders and patterns ask first",
        execute=add_files,
        arguments=(ArgumentKind.PATH,),
        repeats=True,
    ),
    ChatCommand(
        name="/image",
        usage="PATH",
        about="add an image, if the model sees",
        execute=add_image,
        arguments=(ArgumentKind.PATH,),
    ),
)
