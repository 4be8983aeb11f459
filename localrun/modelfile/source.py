"""The text of one recipe file, and where in it something stands.

Bytes become text as Ollama does it: a byte order mark decides, UTF-8 without one, and
bytes that are no text become U+FFFD. UTF-16 without a mark is known by its zero bytes,
since a recipe begins with an ASCII character. NUL is dropped: neither a path nor a
prompt can hold it. Lines end at CR, LF or CR LF and nothing else; columns count
characters; both begin at 1.
"""

from __future__ import annotations

import bisect
import codecs
import re
from array import array
from dataclasses import dataclass
from functools import cached_property

from localrun.errors import UsageError

MOST_BYTES = 8 * 1024 * 1024
NEWLINE = re.compile(r"[\r\n]")
LINE_BREAK = re.compile(r"\r\n?|\n")
REPLACEMENT = "\ufffd"
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """A place in a file, with the line that a reader sees there."""

    file: str
    line: int
    column: int
    text: str  # the whole line


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)  # no slots: it keeps its lines
class SourceText:
    """The text of a file, under the name that messages give it."""

    name: str
    text: str

    def place(self, offset: int) -> SourcePosition:
        """Return where ``offset`` is; only the first call takes time in proportion to the text."""
        line = bisect.bisect_right(self._line_starts, offset)
        start = self._line_starts[line - 1]
        return SourcePosition(
            file=self.name,
            line=line,
            column=offset - start + 1,
            text=self.text[start : self.line_end(offset)],
        )

    def line_end(self, offset: int) -> int:
        """Return where the newline after ``offset`` is, or the end of the text."""
        newline = NEWLINE.search(self.text, offset)
        return newline.start() if newline else len(self.text)

    @cached_property
    def _line_starts(self) -> array[int]:
        """Return the offset of every line's first character."""
        starts = array("I", [0])
        starts.extend(match.end() for match in LINE_BREAK.finditer(self.text))
        return starts

    @property
    def first_replaced(self) -> int | None:
        """Return the offset of the first character that was no text in the file."""
        found = self.text.find(REPLACEMENT)
        return None if found < 0 else found


def decode_source(content: bytes, name: str) -> SourceText:
    """Read the bytes of a file.

    Raises:
        UsageError: more bytes than a recipe may have.
    """
    if len(content) > MOST_BYTES:
        raise UsageError(
            f"{name} has {len(content)} bytes; a recipe has at most {MOST_BYTES}",
            hint="a model is named by a recipe, not put into it: FROM ./model.gguf",
        )
    mark, encoding = next(
        ((mark, encoding) for mark, encoding in MARKS if content.startswith(mark)),
        (b"", _without_mark(content)),
    )
    text = content[len(mark) :].decode(encoding, errors="replace")
    return SourceText(name=name, text=text.replace("\0", ""))


def _without_mark(content: bytes) -> str:
    zeros = [byte == 0 for byte in content[:2]]
    if zeros == [False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False] else "utf-8"
