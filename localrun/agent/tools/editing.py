"""Tools that change files: an edit by exact text and the creation of a file, with undo.

The text to replace must occur exactly once, so that what is shown as a diff before the edit is
what happens. Invariant: an edit is undone only while the file is as the edit left it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult
from localrun.agent.tools.arguments import check_known, read_text, schema, text_of
from localrun.agent.tools.diffs import num_changed, unified_diff
from localrun.agent.tools.folder import check_editable
from localrun.agent.tools.reading import decoded

if TYPE_CHECKING:
    from localrun.agent.toolbox import Arguments
    from localrun.agent.tools.folder import WorkFolder

MAX_UNDO, MAX_UNDO_BYTES = 100, 64 * 1024 * 1024
EDIT_SCHEMA = schema(
    ("path", "old_text", "new_text"),
    path=text_of("Path of the file, relative to the folder."),
    old_text=text_of("Text to replace, exactly as in the file; it must occur once."),
    new_text=text_of("Text to put in its place."),
)
CREATE_SCHEMA = schema(
    ("path", "content"),
    path=text_of("Path of the new file, relative to the folder."),
    content=text_of("Content of the file."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """An edit of a file; ``before`` is None if the edit creates the file."""

    path: str
    before: bytes | None
    after: bytes

    @property
    def diff(self) -> str:
        """Return the unified diff."""
        before = None if self.before is None else self.before.decode("utf-8", "replace")
        return unified_diff(self.path, before, self.after.decode("utf-8", "replace"))

    @property
    def num_bytes(self) -> int:
        """Return the memory that the edit takes."""
        return len(self.before or b"") + len(self.after)


class FileEditor:
    """Edits of files below a folder, the last of which can be undone."""

    def __init__(self, folder: WorkFolder) -> None:
        self._folder = folder
        self._done: list[FileEdit] = []

    def tools(self) -> list[AgentTool]:
        """Return the tools."""
        return [
            AgentTool(
                name="edit_file",
                description="Replace a text in a file.",
                parameters=EDIT_SCHEMA,
                effect=Effect.EDIT,
                execute=lambda arguments, _cancel: self._execute(self.planned_edit(arguments)),
                preview=lambda arguments: self.planned_edit(arguments).diff,
            ),
            AgentTool(
                name="create_file",
                description="Create a text file.",
                parameters=CREATE_SCHEMA,
                effect=Effect.EDIT,
                execute=lambda arguments, _cancel: self._execute(self.planned_file(arguments)),
                preview=lambda arguments: self.planned_file(arguments).diff,
            ),
        ]

    def planned_edit(self, arguments: Arguments) -> FileEdit:
        """Return the edit that a call describes, without doing it.

        Raises:
            ToolError: the file cannot be edited, or the text does not occur exactly once.
        """
        check_known(arguments, EDIT_SCHEMA)
        path = read_text(arguments, "path")
        old, new = read_text(arguments, "old_text"), read_text(arguments, "new_text")
        check_editable(self._folder.parts(path), path)
        data = self._folder.read(path)
        decoded(data, path)  # refuses binary files
        text = data.decode("utf-8")
        if "\r\n" in text:
            old, new = _with_carriage_returns(old), _with_carriage_returns(new)
        _check_once(text, old, path)
        after = _encoded(text.replace(old, new, 1))
        if after == data:
            raise ToolError("The new text equals the old text.")
        return FileEdit(path=path, before=data, after=after)

    def planned_file(self, arguments: Arguments) -> FileEdit:
        """Return the creation that a call describes, without doing it.

        Raises:
            ToolError: the file exists, or its folder cannot be used.
        """
        check_known(arguments, CREATE_SCHEMA)
        path = read_text(arguments, "path")
        content = read_text(arguments, "content")
        check_editable(self._folder.parts(path), path)
        if self._folder.exists(path):
            raise ToolError(f"{path} exists already; use edit_file.")
        return FileEdit(path=path, before=None, after=_encoded(content))

    def undo(self) -> str | None:
        """Undo the last edit; return a sentence about it, None if there is no edit.

        Raises:
            ToolError: the file has changed since.
        """
        if not self._done:
            return None
        edit = self._done[-1]
        if self._folder.read(edit.path) != edit.after:
            raise ToolError(f"{edit.path} has changed since the edit, so it is not undone.")
        self._done.pop()
        if edit.before is None:
            self._folder.remove(edit.path)
            return f"removed {edit.path}, which was created"
        self._folder.write(edit.path, edit.before, is_new=False)
        return f"undid the edit of {edit.path}"

    def _execute(self, edit: FileEdit) -> ToolResult:
        self._folder.write(edit.path, edit.after, is_new=edit.before is None)
        self._done.append(edit)
        while len(self._done) > MAX_UNDO or sum(each.num_bytes for each in self._done[:-1]) > (
            MAX_UNDO_BYTES
        ):
            self._done.pop(0)
        added, removed = num_changed(edit.diff)
        verb = "Created" if edit.before is None else "Edited"
        return ToolResult(
            text=f"{verb} {edit.path}.", summary=f"+{added} -{removed}", diff=edit.diff
        )


def _check_once(text: str, old: str, path: str) -> None:
    if not old:
        raise ToolError("old_text is empty; create_file creates a file.")
    count = text.count(old)
    if count == 0:
        raise ToolError(f"old_text does not occur in {path}. Read the file and copy it exactly.")
    if count > 1:
        raise ToolError(f"old_text occurs {count} times in {path}. Add lines around it.")


def _with_carriage_returns(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ToolError("The text has characters that UTF-8 cannot encode.") from error
