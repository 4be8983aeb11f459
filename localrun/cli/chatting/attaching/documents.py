"""Files that a message takes along: bytes of images and sounds, text of documents.

Each file is opened once, without waiting for a pipe, and read up to a bound. Invariants: only
regular files are read; what cannot be read is an error that names the file.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.chatting.attaching.media import (
    HEAD_BYTES,
    PDF,
    FileKind,
    kind_of,
    text_encoding,
)
from localrun.cli.output import human_bytes
from localrun.conversations.images import MAX_MESSAGE_BYTES
from localrun.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_TEXT = 2 << 20  # bytes of a text document
TEXT_FROM = {"Word document": "pandoc -t plain"}
BACKTICKS = re.compile("```+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDocument:
    """Text of a file under the name that the user wrote."""

    name: str
    text: str

    @property
    def block(self) -> str:
        """Return the document as the model gets it: a heading, and the text in a fence."""
        longest = max(map(len, BACKTICKS.findall(self.text)), default=0)
        fence = "`" * max(3, longest + 1)
        end = "" if self.text.endswith("\n") or not self.text else "\n"
        return f"File {self.name}:\n{fence}\n{self.text}{end}{fence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """Image, sound or PDF."""

    name: str
    kind: FileKind
    content: bytes

    @property
    def is_pdf(self) -> bool:
        """Return whether it is a document, which every model takes: the server reads its text."""
        return self.kind.form == PDF


def read_file(path: Path, name: str) -> TextDocument | MediaFile:
    """Return an image, a sound or a text document, by its first bytes.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it cannot be read, is too large, or is neither text, image nor sound.
    """
    return parsed_file(_read(path, name, MAX_MESSAGE_BYTES), name, path.suffix)


def parsed_file(content: bytes, name: str, suffix: str = "") -> TextDocument | MediaFile:
    """Return an image, a sound or a text document from its bytes.

    Raises:
        UsageError: it is too large, or is neither text, image nor sound.
    """
    if len(content) > MAX_MESSAGE_BYTES:
        raise _too_large(name, MAX_MESSAGE_BYTES)
    kind = kind_of(content[:HEAD_BYTES], suffix)
    if kind.kind in {"image", "sound"} or kind.form == PDF:
        return MediaFile(name=name, kind=kind, content=content)
    if kind.kind == "document":
        tool = TEXT_FROM.get(kind.form)
        hint = f"{tool} FILE   writes its text" if tool else "save it as text first"
        raise UsageError(f"{name} is a {kind.form}, which localrun does not read yet", hint=hint)
    if kind.kind == "binary":
        raise UsageError(f"{name} is a binary file: no text, image or sound that localrun knows")
    if len(content) > MAX_TEXT:
        raise _too_large(name, MAX_TEXT)
    return TextDocument(name=name, text=_decoded(content, name))


def file_kind(path: Path) -> FileKind | None:
    """Return the kind of a regular file, None if there is none or it cannot be read."""
    try:
        return kind_of(_read_head(path), path.suffix)
    except (OSError, ValueError):
        return None


def documents_text(documents: Sequence[TextDocument]) -> str:
    """Return documents as the model gets them."""
    return "\n\n".join(one.block for one in documents)


def _read(path: Path, name: str, max_bytes: int) -> bytes:
    try:
        content = _read_head(path, max_bytes + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"{name} cannot be read: {reason}") from error
    if len(content) > max_bytes:
        raise _too_large(name, max_bytes)
    return content


def _read_head(path: Path, max_bytes: int = HEAD_BYTES) -> bytes:
    """Return the first bytes of a regular file; a pipe is not waited for.

    Raises:
        OSError: it cannot be opened or read.
        ValueError: it is no regular file, or the path is none.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(max_bytes)


def _decoded(content: bytes, name: str) -> str:
    encoding = text_encoding(content[:HEAD_BYTES]) or "utf-8"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is neither UTF-8 nor UTF-16 text",
            hint="iconv -f LATIN1 -t UTF-8 FILE   converts a file, for example",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _too_large(name: str, max_bytes: int) -> UsageError:
    return UsageError(f"{name} is larger than {human_bytes(max_bytes)}")
