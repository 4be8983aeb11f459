"""Commands for files: text documents and images that the next message takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.attached import note_tokens, rules_of
from localrun.cli.chatting.attaching.attachments import (
    is_pdf,
    read_all_media,
    read_documents,
    read_media,
)
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.completion.typed_words import typed_words
from localrun.cli.chatting.prompt.sources import ArgumentKind

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
        rules, paths = rules_of(chat), _paths(argument)
        pdfs = [path for path in paths if is_pdf(path, rules)]
        media = [read_media(path, rules) for path in pdfs]
        documents = read_documents([path for path in paths if path not in pdfs], rules)
        chat.documents = [*chat.documents, *documents]
        chat.media = [*chat.media, *media]
        note_tokens(chat, documents)


def add_image(chat: Chat, argument: str) -> None:
    """Add images and sounds to the next message; ``off`` removes them.

    Raises:
        LocalrunError: a file does not exist, or the model does not take it.
    """
    if not argument:
        names = ", ".join(one.name for one in chat.media) or "no images"
        chat.transcript.note(
            f"{names} with the next message; /image PATH... adds, /image off removes"
        )
    elif argument in OFF:
        chat.media = []
        chat.transcript.note("The next message takes no images along.")
    else:
        rules = rules_of(chat)
        added = [medium for path in _paths(argument) for medium in read_all_media(path, rules)]
        chat.media = [*chat.media, *added]
        chat.transcript.note(f"{', '.join(one.name for one in added)} with the next message")


def _paths(argument: str) -> list[str]:
    words = typed_words(argument + " ")
    return [*words.complete, *([words.current] if words.current else [])]


COMMANDS = (
    ChatCommand(
        name="/file",
        usage="PATH...",
        about="add text and PDF files to the next message; folders and patterns ask first",
        execute=add_files,
        arguments=(ArgumentKind.PATH,),
        repeats=True,
    ),
    ChatCommand(
        name="/image",
        usage="PATH...",
        about="add images to the next message, if the model sees; sounds, if it hears",
        execute=add_image,
        arguments=(ArgumentKind.PATH,),
        repeats=True,
    ),
)
