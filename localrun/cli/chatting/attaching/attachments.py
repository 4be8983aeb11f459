"""Attachments of a message: its paths become images, sounds and documents of the request.

    what is in ./photo.jpg and @notes.txt?       as typed
    what is in [image 1: photo.jpg] and [file 1: notes.txt]?       as shown, after the documents

An image or a sound is attached wherever its path stands, a text document only by ``@``. Knows
neither terminal nor server: the caller says which media the model takes. Invariant: a path that
is not attached stays in the text as it was written; nothing is attached if anything is refused.
"""

from __future__ import annotations

import base64
import glob
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.cli.chatting.attaching.documents import (
    MediaFile,
    TextDocument,
    documents_text,
    file_kind,
    parsed_file,
    read_file,
)
from localrun.cli.chatting.attaching.file_lists import MAX_BYTES, is_pattern, list_files
from localrun.cli.chatting.attaching.message_paths import MentionedPath, find_paths
from localrun.cli.chatting.attaching.request_media import MAX_MEDIA, check_together
from localrun.cli.output import human_bytes
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from localrun.cli.chatting.attaching.media import Kind

NOUNS = {"image": "images", "sound": "sounds", "document": "PDF files"}
UNMARKED = {"image", "sound"}  # attached without @


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedMessage:
    """A message with what it takes along."""

    typed: str  # as the user wrote it
    text: str  # with markers instead of paths
    documents: tuple[TextDocument, ...] = ()
    media: tuple[MediaFile, ...] = ()
    notes: tuple[str, ...] = ()  # what was not attached, and why

    @property
    def content(self) -> str:
        """Return the text for the model: the documents, then the message."""
        return "\n\n".join(part for part in (documents_text(self.documents), self.text) if part)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all attachments."""
        documents = (one.name for one in self.documents)
        return (*documents, *(one.name for one in self.media))

    def message(self) -> dict[str, object]:
        """Return the message of ``/api/chat``; ``typed`` and ``attachments`` are not sent."""
        extra: dict[str, object] = {}
        if self.names:
            extra = {"typed": self.typed, "attachments": list(self.names)}
        if self.media:
            extra["images"] = [base64.b64encode(one.content).decode() for one in self.media]
        return {"role": "user", "content": self.content, **extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentRules:
    """What a message may take along.

    ``accepts`` returns the kinds of media that the model takes, and is called for media alone;
    ``reason`` says why it takes no others. ``confirm`` gets the question whether to add the files
    of a folder.
    """

    folder: Path  # of relative paths
    accepts: Callable[[], Collection[Kind]] = tuple
    reason: str = "the model takes none"
    prefix: str = "/"  # of file and image in hints: commands of a chat, or options
    confirm: Callable[[str], bool] = lambda _question: False


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Files that are added whole."""

    documents: Sequence[TextDocument]
    pdfs: Sequence[MediaFile]  # the server reads them


@dataclass(slots=True)
class Attaching:
    """Attachments of a message so far, with their numbers by path."""

    rules: AttachmentRules
    documents: list[TextDocument] = field(default_factory=list)
    media: list[MediaFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    markers: dict[Path, str | None] = field(default_factory=dict)


def accepted_kinds(capabilities: Sequence[str]) -> list[Kind]:
    """Return the kinds of media that a model of some capabilities takes."""
    kinds: dict[str, Kind] = {"vision": "image", "audio": "sound"}
    return [kind for capability, kind in kinds.items() if capability in capabilities]


def attach(
    typed: str,
    rules: AttachmentRules,
    documents: Sequence[TextDocument] = (),
    media: Sequence[MediaFile] = (),
) -> AttachedMessage:
    """Return a message with the files whose paths it has, after ``documents`` and ``media``.

    Raises:
        UsageError: a file marked by ``@`` is neither text nor a medium that the model takes, or
            the media are too large together.
    """
    check_together(media)
    attaching = Attaching(rules, media=[*media])
    mentions = find_paths(typed, lambda path: _exists(path, rules.folder))
    parts, position = [], 0
    for mention in mentions:
        marker = _marker(mention, attaching)
        if marker is not None:
            parts += [typed[position : mention.start], marker]
            position = mention.end
    return AttachedMessage(
        typed=typed,
        text="".join((*parts, typed[position:])),
        documents=(*documents, *attaching.documents),
        media=tuple(attaching.media),
        notes=tuple(attaching.notes),
    )


def read_files(paths: Sequence[str], rules: AttachmentRules) -> ReadFiles:
    """Return the text documents of paths, folders and globs, and the PDF files; folders ask first.

    Raises:
        NotFoundError: there is no such file.
        UsageError: a file is neither text nor PDF, empty, or too large.
    """
    documents: list[TextDocument] = []
    pdfs: list[MediaFile] = []
    for written in paths:
        path = _resolved(written, rules.folder)
        if path.is_dir() or (is_pattern(written) and not path.exists()):
            documents += _of_folder(path, rules)
            continue
        content = read_file(path, written)
        if isinstance(content, TextDocument):
            _check_content(content)
            documents.append(content)
        elif content.is_pdf:
            pdfs.append(content)
        else:
            raise UsageError(f"{written} is no text", hint=f"{rules.prefix}image {written}")
    if sum(len(one.text) for one in documents) > MAX_BYTES:
        raise UsageError(f"the files have more than {human_bytes(MAX_BYTES)} of text together")
    check_together(pdfs)
    return ReadFiles(documents, pdfs)


def read_media(written: str, rules: AttachmentRules) -> MediaFile:
    """Return an image or a sound.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is neither, or the model does not take it.
    """
    content = read_file(_resolved(written, rules.folder), written)
    if isinstance(content, TextDocument):
        _check_content(content)
        raise UsageError(f"{written} is text", hint=f"{rules.prefix}file {written}")
    _check_accepted(content, rules)
    return content


def read_all_media(written: str, rules: AttachmentRules) -> list[MediaFile]:
    """Return the images and sounds of a path or a pattern, in the order of their names.

    Raises:
        NotFoundError: there is no such file, or none that matches.
        UsageError: one is neither an image nor a sound, or the model does not take it.
    """
    path = _resolved(written, rules.folder)
    if not is_pattern(written) or path.exists():
        return [read_media(written, rules)]
    names = sorted(glob.glob(str(path)))  # noqa: PTH207 - the pattern may be absolute
    if not names:
        raise NotFoundError(f"{written}: no file matches")
    if len(names) > MAX_MEDIA:
        raise UsageError(f"{written} matches {len(names)} files, a message has {MAX_MEDIA} at most")
    return [read_media(name, rules) for name in names]


def media_from(content: bytes, name: str, rules: AttachmentRules) -> MediaFile:
    """Return an image or a sound from its bytes.

    Raises:
        UsageError: it is neither, is too large, or the model does not take it.
    """
    medium = parsed_file(content, name)
    if isinstance(medium, TextDocument):
        _check_content(medium)
        raise UsageError(f"{name} is text, no image")
    _check_accepted(medium, rules)
    return medium


def _exists(written: str, folder: Path) -> bool:
    try:
        return _resolved(written, folder).exists()
    except (OSError, ValueError, RuntimeError):  # too long for a name, or no home folder
        return False


def _resolved(written: str, folder: Path) -> Path:
    return folder / Path(written).expanduser()


def _marker(mention: MentionedPath, attaching: Attaching) -> str | None:
    """Attach the file of a mention; return its marker, None if it stays text."""
    path = _resolved(mention.path, attaching.rules.folder)
    if path not in attaching.markers:
        attaching.markers[path] = _attach_one(path, mention, attaching)
    return attaching.markers[path]


def _attach_one(path: Path, mention: MentionedPath, attaching: Attaching) -> str | None:
    kind = file_kind(path)
    is_medium = kind is not None and kind.kind in UNMARKED
    if not mention.is_marked:
        return _attach_unmarked(path, mention.path, attaching) if is_medium else None
    if path.is_dir():
        return _attach_folder(path, mention.path, attaching)
    content = read_file(path, mention.path)
    if isinstance(content, MediaFile):
        _check_accepted(content, attaching.rules)
        return _add_media(content, path, attaching)
    attaching.documents.append(content)
    return f"[file {len(attaching.documents)}: {path.name}]"


def _attach_unmarked(path: Path, written: str, attaching: Attaching) -> str | None:
    """Attach an image or a sound if the model takes it; else note it and leave the path."""
    try:
        content = read_media(written, attaching.rules)
        return _add_media(content, path, attaching)
    except (UsageError, NotFoundError) as error:
        attaching.notes.append(f"not attached: {error.message}")
        return None


def _attach_folder(path: Path, written: str, attaching: Attaching) -> str | None:
    documents = _of_folder(path, attaching.rules)
    attaching.documents += documents
    return f"[{len(documents)} files: {written}]" if documents else None


def _of_folder(path: Path, rules: AttachmentRules) -> list[TextDocument]:
    listed = list_files(path)
    if not rules.confirm(listed.question):
        return []
    contents = [read_file(one, _shown_name(one, rules.folder)) for one in listed.files]
    return [one for one in contents if isinstance(one, TextDocument)]


def _shown_name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _check_content(document: TextDocument) -> None:
    if not document.text:
        raise UsageError(f"{document.name} is empty")


def _check_accepted(content: MediaFile, rules: AttachmentRules) -> None:
    if not content.is_pdf and content.kind.kind not in rules.accepts():
        raise UsageError(
            f"{content.name}: {NOUNS[content.kind.kind]} cannot be sent, {rules.reason}",
            hint="/show info   lists the capabilities of the model",
        )


def _add_media(content: MediaFile, path: Path, attaching: Attaching) -> str:
    check_together([*attaching.media, content])
    attaching.media.append(content)
    kind = content.kind.kind
    number = sum(one.kind.kind == kind for one in attaching.media)
    return f"[{kind} {number}: {path.name}]"
