"""Source text of a Modelfile: decoding, positions, and reading of included files.

Bytes are decoded as Ollama decodes them: by the byte order mark, else as UTF-8, with U+FFFD for
invalid bytes. UTF-16 without a mark is recognized by its zero bytes, since a Modelfile begins with
an ASCII character. NUL is dropped, because neither a path nor a prompt can contain it. Lines end
at CR, LF or CR LF only. Columns count characters; lines and columns begin at 1.
"""

from __future__ import annotations

import bisect
import codecs
import os
import re
import stat
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from localrun.errors import UsageError

Reader = Callable[[str], bytes]  # of a path below the top file's folder, with "/"

MAX_BYTES = 8 * 1024 * 1024
NEWLINE = re.compile(r"[\r\n]")
LINE_BREAK = re.compile(r"\r\n?|\n")
REPLACEMENT = "\ufffd"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# a file that is replaced by a link or a pipe between check and opening is refused too
FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
BINARY = getattr(os, "O_BINARY", 0)  # Windows would change newlines


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """A position in a file, with the text of its line."""

    file: str
    line: int
    column: int
    text: str  # the whole line


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # cached: no slots
class SourceText:
    """The text of a file, and the name of the file in messages."""

    name: str
    text: str

    def position(self, offset: int) -> SourcePosition:
        """Return the position of ``offset``; only the first call takes time linear in the text."""
        line = bisect.bisect_right(self._line_starts, offset)
        start = self._line_starts[line - 1]
        return SourcePosition(
            file=self.name,
            line=line,
            column=offset - start + 1,
            text=self.text[start : self.line_end(offset)],
        )

    def line_end(self, offset: int) -> int:
        """Return the offset of the next newline, or of the end of the text."""
        newline = NEWLINE.search(self.text, offset)
        return newline.start() if newline else len(self.text)

    @cached_property
    def _line_starts(self) -> array[int]:
        """Return the offset of the first character of each line."""
        starts = array("I", [0])
        starts.extend(match.end() for match in LINE_BREAK.finditer(self.text))
        return starts

    @property
    def first_replaced(self) -> int | None:
        """Return the offset of the first character that replaces invalid bytes, or None."""
        offset = self.text.find(REPLACEMENT)
        return None if offset < 0 else offset


def decode_source(content: bytes, name: str) -> SourceText:
    """Return the text of a file's bytes.

    Raises:
        UsageError: the file has more than `MAX_BYTES`.
    """
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"{name} has {len(content)} bytes; a recipe has at most {MAX_BYTES}",
            hint="a model is named by a recipe, not put into it: FROM ./model.gguf",
        )
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in MARKS if content.startswith(mark)),
        (b"", _without_mark(content)),
    )
    text = content[len(mark) :].decode(encoding, errors="replace")
    return SourceText(name=name, text=text.replace("\0", ""))


def folder_reader(folder: Path) -> Reader:
    """Return a reader of the files below a folder, for INCLUDE.

    A symbolic link is followed if its target is inside the folder. The reader raises UsageError
    for a path that leads outside or is not a regular file (reading a device might never end), and
    OSError for a file that cannot be read.
    """

    def read(path: str) -> bytes:
        top = Path(os.path.realpath(folder))  # Path.resolve fails on links in a circle
        target = Path(os.path.realpath(top / path))
        if not target.is_relative_to(top):
            raise UsageError(
                f"{path} leads outside the folder of the recipe",
                hint="copy the file into the folder of the recipe, or below it",
            )
        with os.fdopen(os.open(target, FLAGS | BINARY), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is not a file")
            return file.read(MAX_BYTES + 1)

    return read


def _without_mark(content: bytes) -> str:
    zeros = [byte == 0 for byte in content[:2]]
    if zeros == [False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False] else "utf-8"
