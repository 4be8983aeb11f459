r"""Paths in a message that was typed, pasted or dragged into the terminal.

    what is in ./my\ photo.jpg?      blanks escaped, as terminals paste a dragged file
    compare 'a b.png' and "c d.png"  quoted
    file:///home/me/a%20b.png        a URL
    explain @src/main.py             marked: any file or folder, also @"my notes.txt"
    C:\photos\a.jpg                  of Windows, where a backslash escapes nothing

An unmarked word is a path only if it looks like one: it has a separator, or the ending of an image
or a sound. Invariants: a path exists, so that words such as /help are text; the time is linear in
the message, and at most `MAX_CHECKED` words are looked up on the disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_CHECKED = 1000
LONGEST = 4096  # characters of a path
MEDIA_ENDINGS = frozenset(
    (
        ".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif",
        ".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".m4b", ".mp4", ".webm",
    )
)  # fmt: skip
WORD = re.compile(r"\S+")
SHELL_WORD = re.compile(r"(?:\\.|[^\s\\])+(?:\\(?=\s|\Z))?")  # one way to match: linear
ESCAPED = re.compile(r"\\(.)")
DRIVE = re.compile(r"[A-Za-z]:[\\/]")
PUNCTUATION = ".,;:!?)]}>'\"\u2026\u3002\u3001\uff0c\uff01\uff1f\uff09\u300d"  # after a path
START = re.compile(r"""(?P<bracket>[(\[{<]*)['"(\[{<]*(?=\S)""")
QUOTES = "'\""


@dataclass(frozen=True, slots=True)
class MentionedPath:
    """A path of an existing file or folder, at ``text[start:end]``."""

    start: int
    end: int
    path: str
    is_marked: bool  # by "@"


@dataclass(slots=True)
class PathLookup:
    """Check of words against the disk; after `MAX_CHECKED` words no word is a path."""

    exists: Callable[[str], bool]
    num_left: int = MAX_CHECKED

    def is_path(self, word: str, *, is_marked: bool) -> bool:
        """Return whether a word is a path of something that exists."""
        if not word or len(word) > LONGEST or "\0" in word or not self.num_left:
            return False
        if not is_marked and not _looks_like_path(word):
            return False
        self.num_left -= 1
        return self.exists(word)


def find_paths(
    text: str, exists: Callable[[str], bool], *, is_windows: bool = os.name == "nt"
) -> list[MentionedPath]:
    """Return the paths of a message in their order; ``exists`` gets a path as it would be opened.

    A leading ``~`` stays in the path.
    """
    lookup = PathLookup(exists)
    whole = _whole_line(text, lookup)
    if whole is not None:
        return [whole]
    found: list[MentionedPath] = []
    position = 0
    while (opening := START.search(text, position)) is not None:
        position = opening.end()
        for begin in dict.fromkeys((opening.end("bracket"), opening.end())):
            mention = _path_at(text, begin, lookup, is_windows=is_windows)
            if mention is not None:
                found.append(mention)
                position = mention.end
                break
        else:
            position = _word_end(text, position, is_windows=is_windows)
    return found


def _whole_line(text: str, lookup: PathLookup) -> MentionedPath | None:
    """Return the path that a message of one line is, with blanks that are not escaped."""
    line = text.strip()
    is_candidate = " " in line and "\n" not in line and line[:1] not in {"@", *QUOTES}
    if not is_candidate or not lookup.is_path(line, is_marked=False):
        return None
    start = text.index(line)
    return MentionedPath(start, start + len(line), line, is_marked=False)


def _path_at(
    text: str, start: int, lookup: PathLookup, *, is_windows: bool
) -> MentionedPath | None:
    """Return the path whose first character, mark or quote is at ``start``."""
    is_marked = text.startswith("@", start)
    begin = start + is_marked
    for end, path in _candidates(text, begin, is_windows=is_windows):
        if lookup.is_path(path, is_marked=is_marked):
            return MentionedPath(start, end, path, is_marked)
    return None


def _candidates(text: str, begin: int, *, is_windows: bool) -> Iterator[tuple[int, str]]:
    """Yield the ends and paths that may begin at an offset, the likeliest first."""
    if begin >= len(text):
        return
    if text[begin] in QUOTES:
        close = text.find(text[begin], begin + 1, begin + LONGEST)
        if close > 0 and "\n" not in text[begin:close]:
            yield close + 1, _from_url(text[begin + 1 : close])
        return
    is_plain = is_windows or DRIVE.match(text, begin) is not None
    match = (WORD if is_plain else SHELL_WORD).match(text, begin)
    if match is None:
        return
    word = match[0]
    for written in dict.fromkeys((word, word.rstrip(PUNCTUATION))):
        is_url = written.startswith("file:")
        path = written if is_plain or is_url else ESCAPED.sub(r"\1", written)
        yield begin + len(written), _from_url(path)


def _word_end(text: str, start: int, *, is_windows: bool) -> int:
    """Return the end of a word that is no path."""
    match = (WORD if is_windows else SHELL_WORD).match(text, start)
    return start + 1 if match is None else match.end()  # a backslash before a line end


def _from_url(word: str) -> str:
    """Return the path of a file URL of this machine; other words stay."""
    for head in ("file://localhost/", "file:///", "file:/"):
        if word.lower().startswith(head):
            path = "/" + unquote(word[len(head) :])
            return path[1:] if DRIVE.match(path, 1) else path
    return word


def _looks_like_path(word: str) -> bool:
    if "/" in word or "\\" in word or word.startswith("~"):
        return not word.startswith(("http://", "https://"))
    return os.path.splitext(word)[1].lower() in MEDIA_ENDINGS  # noqa: PTH122 - not a path yet
