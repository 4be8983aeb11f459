"""Tools that read below the folder: a file by lines, a list of a folder, a search.

Invariant: the number of files, entries, bytes and lines that a call reads and returns is bounded;
symbolic links are shown and not followed.
"""

from __future__ import annotations

import fnmatch
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult
from localrun.agent.tools.arguments import (
    check_known,
    number_of,
    read_flag,
    read_number,
    read_text,
    schema,
    switch_of,
    text_of,
)
from localrun.agent.tools.folder import CONTROL_FOLDERS, WorkFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.agent.toolbox import Arguments, Cancellation

DEFAULT_LINES, MAX_LINES = 200, 2000
LONGEST_LINE = 2000  # characters
MAX_ENTRIES = 500  # of a list
MAX_READ_ENTRIES = 20_000  # of one folder
MAX_MATCHES, LONGEST_MATCH = 100, 300
MAX_FILES, MAX_SEARCHED_BYTES = 20_000, 256 * 1024 * 1024
LARGEST_SEARCHED = 1024 * 1024  # bytes of one file
LONGEST_SEARCH, LONGEST_GLOB = 1000, 200
DEEPEST = 32  # folders
SKIPPED = CONTROL_FOLDERS | {"node_modules", "__pycache__", ".venv"}
READ_SCHEMA = schema(
    ("path",),
    path=text_of("Path of the file, relative to the folder."),
    first_line=number_of("First line, 1 by default."),
    num_lines=number_of(f"Number of lines, {DEFAULT_LINES} by default."),
)
LIST_SCHEMA = schema(path=text_of('Path of the folder, "." by default.'))
SEARCH_SCHEMA = schema(
    ("text",),
    text=text_of("Text to find in the lines of files; no pattern."),
    path=text_of('File or folder to search, "." by default.'),
    files=text_of("Only files with this name, such as *.py."),
    ignore_case=switch_of("Ignore case."),
)


def reading_tools(folder: WorkFolder) -> list[AgentTool]:
    """Return the tools that read below a folder."""
    return [
        AgentTool(
            name="read_file",
            description="Read lines of a text file.",
            parameters=READ_SCHEMA,
            effect=Effect.READ,
            execute=lambda arguments, _cancel: read_file(folder, arguments),
        ),
        AgentTool(
            name="list_folder",
            description="List files and folders.",
            parameters=LIST_SCHEMA,
            effect=Effect.READ,
            execute=lambda arguments, _cancel: list_folder(folder, arguments),
        ),
        AgentTool(
            name="search",
            description="Find lines that contain a text, in all files of a folder.",
            parameters=SEARCH_SCHEMA,
            effect=Effect.READ,
            execute=lambda arguments, cancel: search(folder, arguments, cancel),
        ),
    ]


def decoded(data: bytes, path: str) -> str:
    """Return the text of a file.

    Raises:
        ToolError: it is binary.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ToolError(f"{path} is no UTF-8 text ({len(data)} bytes).") from error
    if "\0" in text:
        raise ToolError(f"{path} is binary ({len(data)} bytes).")
    return text


def read_file(folder: WorkFolder, arguments: Arguments) -> ToolResult:
    """Return lines of a file below a line that states their numbers.

    Raises:
        ToolError: the file cannot be read, or is no text.
    """
    check_known(arguments, READ_SCHEMA)
    path = read_text(arguments, "path")
    first = read_number(arguments, "first_line", 1, least=1, most=10**9)
    count = read_number(arguments, "num_lines", DEFAULT_LINES, least=1, most=MAX_LINES)
    lines = decoded(folder.read(path), path).split("\n")
    if lines[-1] == "":
        lines.pop()
    shown = [
        line[:LONGEST_LINE].removesuffix("\r") for line in lines[first - 1 : first - 1 + count]
    ]
    if not shown:
        return ToolResult(text=f"{path} has {len(lines)} lines.", summary=f"{len(lines)} lines")
    numbers = f"lines {first}-{first + len(shown) - 1} of {len(lines)}"
    return ToolResult(text="\n".join([f"{path}, {numbers}:", *shown]), summary=numbers)


def list_folder(folder: WorkFolder, arguments: Arguments) -> ToolResult:
    """Return the entries of a folder, a line for each: folders end in a slash.

    Raises:
        ToolError: the folder cannot be read.
    """
    check_known(arguments, LIST_SCHEMA)
    path = read_text(arguments, "path", ".") or "."
    parts = folder.parts(path)
    with folder.open_folder(parts, path) as opened:
        entries = sorted(_bounded(folder.names(opened, parts), MAX_READ_ENTRIES))
    lines = [_entry_line(name, mode, size) for name, mode, size in entries[:MAX_ENTRIES]]
    if len(entries) > MAX_ENTRIES:
        lines.append(f"[{len(entries) - MAX_ENTRIES} more]")
    summary = f"{len(entries)} entries"
    return ToolResult(text="\n".join(lines) or "The folder is empty.", summary=summary)


@dataclass(slots=True, kw_only=True)
class FileSearch:
    """One search: what is wanted, and what was found until now."""

    text: str
    glob: str
    ignores_case: bool
    cancel: Cancellation
    lines: list[str] = field(default_factory=list)
    num_files: int = 0
    num_bytes: int = 0

    @property
    def is_over(self) -> bool:
        """Return whether a limit is reached, or the user stopped the call."""
        is_full = self.num_files >= MAX_FILES or self.num_bytes >= MAX_SEARCHED_BYTES
        return self.cancel.is_set() or is_full or len(self.lines) >= MAX_MATCHES

    def wants(self, name: str) -> bool:
        """Return whether a file is searched by its name."""
        return not self.glob or fnmatch.fnmatchcase(name, self.glob)

    def add_file(self, path: str, data: bytes) -> None:
        """Search the lines of a file; binary files have none."""
        self.num_files += 1
        self.num_bytes += len(data)
        if b"\0" in data:
            return
        content = data.decode("utf-8", "replace")
        haystack = content.casefold() if self.ignores_case else content
        if self.text not in haystack:
            return
        for number, line in enumerate(content.split("\n"), 1):
            if self.text in (line.casefold() if self.ignores_case else line):
                self.lines.append(f"{path}:{number}: {_around(line, self.text)}")
                if len(self.lines) >= MAX_MATCHES:
                    return


def search(folder: WorkFolder, arguments: Arguments, cancel: Cancellation) -> ToolResult:
    """Return the lines that contain a text, as ``path:number: line``.

    Raises:
        ToolError: an argument is wrong, or the path does not exist.
    """
    check_known(arguments, SEARCH_SCHEMA)
    found = _search_of(arguments, cancel)
    path = read_text(arguments, "path", ".") or "."
    parts = folder.parts(path)
    if parts and _is_file(folder, parts, path):
        found.add_file("/".join(parts), folder.read(path))
    else:
        _search_folder(folder, parts, found)
    text = "\n".join(found.lines) or "No line contains this text."
    if found.is_over:
        text += "\n[the search ended at its limit; search a smaller folder or a longer text]"
    return ToolResult(text=text, summary=f"{len(found.lines)} lines in {found.num_files} files")


def _search_of(arguments: Arguments, cancel: Cancellation) -> FileSearch:
    text = read_text(arguments, "text")
    glob = read_text(arguments, "files", "")
    if not 0 < len(text) <= LONGEST_SEARCH or len(glob) > LONGEST_GLOB or "\n" in text:
        raise ToolError(f"The text must have one line of 1 to {LONGEST_SEARCH} characters.")
    ignores_case = read_flag(arguments, "ignore_case")
    return FileSearch(
        text=text.casefold() if ignores_case else text,
        glob=glob.rpartition("/")[2],
        ignores_case=ignores_case,
        cancel=cancel,
    )


def _search_folder(folder: WorkFolder, parts: tuple[str, ...], found: FileSearch) -> None:
    """Search all files below a folder, in the order of their names."""
    path = "/".join(parts) or "."
    with folder.open_folder(parts, path) as opened:
        entries = sorted(_bounded(folder.names(opened, parts), MAX_READ_ENTRIES))
        for name, mode, size in entries:
            if found.is_over:
                return
            if stat.S_ISREG(mode) and size <= LARGEST_SEARCHED and found.wants(name):
                _search_file(folder, opened, (*parts, name), found)
    for name, mode, _ in entries:
        if stat.S_ISDIR(mode) and name not in SKIPPED and len(parts) < DEEPEST:
            if found.is_over:
                return
            try:
                _search_folder(folder, (*parts, name), found)
            except ToolError:  # not readable, or gone
                continue


def _search_file(
    folder: WorkFolder, opened: int | None, parts: tuple[str, ...], found: FileSearch
) -> None:
    path = "/".join(parts)
    try:
        found.add_file(path, folder.read_in(opened, parts, path))
    except ToolError:  # not readable, or gone
        return


def _is_file(folder: WorkFolder, parts: tuple[str, ...], path: str) -> bool:
    with folder.open_folder(parts[:-1], path) as opened:
        entries = folder.names(opened, parts[:-1])
        return any(name == parts[-1] and stat.S_ISREG(facts.st_mode) for name, facts in entries)


def _bounded(entries: Iterator[tuple[str, object]], most: int) -> Iterator[tuple[str, int, int]]:
    for _, (name, facts) in zip(range(most), entries, strict=False):
        yield name, getattr(facts, "st_mode", 0), getattr(facts, "st_size", 0)


def _entry_line(name: str, mode: int, size: int) -> str:
    shown = name.encode("utf-8", "replace").decode()
    if stat.S_ISDIR(mode):
        return f"{shown}/"
    if stat.S_ISLNK(mode):
        return f"{shown} (symbolic link, not followed)"
    return f"{shown} ({size} bytes)" if stat.S_ISREG(mode) else f"{shown} (no regular file)"


def _around(line: str, text: str) -> str:
    """Return a line, or the part around the match if it is long."""
    line = line.strip()
    if len(line) <= LONGEST_MATCH:
        return line
    start = max(0, line.find(text) - LONGEST_MATCH // 3)
    return line[start : start + LONGEST_MATCH]
