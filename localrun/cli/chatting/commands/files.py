"""Commands for files: text documents and images that the next message takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.attached import note_tokens, rules_of
from localrun.cli.chatting.attaching.attachments import (
    read_all_media,
    read_files,
)
from localrun.cli.chatting.attaching.request_media import check_together
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.prompt.completion.typed_words import typed_words
from localrun.cli.chatting.prompt.sources import ArgumentKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.chatting.attaching.documents import MediaFile
    from localrun.cli.chatting.chat import Chat

OFF = ("off", "none")


def add_files(chat: Chat, argument: str) -> None:
    """Add text and PDF files, folders and globs to the next message; ``off`` removes them.

    Raises:
        LocalrunError: a file does not exist, is neither text nor PDF, or too large.
    """
    pdfs = [one for one in chat.media if one.is_pdf]
    if not argument:
        names = [one.name for one in chat.documents] + [one.name for one in pdfs]
        listed = ", ".join(names) or "no files"
        chat.transcript.note(
            f"{listed} with the next message; /file PATH... adds, /file off removes"
        )
    elif argument in OFF:
        chat.documents = []
        chat.media = [one for one in chat.media if not one.is_pdf]
        chat.transcript.note("The next message takes no files along.")
    else:
        files = read_files(_paths(argument), rules_of(chat))
        _add_media(chat, files.pdfs)
        chat.documents = [*chat.documents, *files.documents]
        note_tokens(chat, files.documents)


def add_image(chat: Chat, argument: str) -> None:
    """Add images and sounds to the next message; ``off`` removes them.

    Raises:
        LocalrunError: a file does not exist, is too large, or the model does not take it.
    """
    if not argument:
        names = ", ".join(one.name for one in chat.media if not one.is_pdf) or "no images"
        chat.transcript.note(
            f"{names} with the next message; /image PATH... adds, /image off removes"
        )
    elif argument in OFF:
        chat.media = [one for one in chat.media if one.is_pdf]
        chat.transcript.note("The next message takes no images along.")
    else:
        rules = rules_of(chat)
        added: list[MediaFile] = []
        for path in _paths(argument):
            added += read_all_media(path, rules)
            check_together([*chat.media, *added])  # before more of them are read
        _add_media(chat, added)


def _add_media(chat: Chat, media: Sequence[MediaFile]) -> None:
    check_together([*chat.media, *media])
    chat.media = [*chat.media, *media]
    if media:
        chat.transcript.note(f"{', '.join(one.name for one in media)} with the next message")


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
