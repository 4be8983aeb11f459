"""Edits of TOML that keep comments, order and layout."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from localrun.errors import UsageError
from localrun.integrations.edits import Edit, Item, applied, is_same, shape_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.integrations.edits import Json

LONGEST_LINE = 8000  # a key of many parts takes quadratic time


class TomlError(UsageError):
    """The text is not TOML."""


def edited_toml(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with the edits.

    Raises:
        TomlError: the text is malformed.
        ShapeError: a part of a path is not a table.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    before = decoded_toml(text)
    if is_same(applied(before, edits), before):
        return text
    try:
        written = text
        for edit in edits:
            document: Any = tomlkit.parse(written)
            _edit(document, edit)
            written = _spaced(written, tomlkit.dumps(document))
    except (TOMLKitError, RecursionError) as error:
        raise TomlError("it cannot be edited as TOML") from error
    return written


def decoded_toml(text: str) -> Json:
    """Return the value of a text.

    Raises:
        TomlError: the text is malformed.
    """
    if any(len(line) > LONGEST_LINE for line in text.splitlines()):
        raise TomlError(f"a line has more than {LONGEST_LINE} characters")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise TomlError(str(error) or "it cannot be read as TOML") from error


def _edit(document: Any, edit: Edit) -> None:  # noqa: ANN401 - tomlkit's own types
    here = document
    for depth, step in enumerate(edit.path):
        if isinstance(step, Item):
            raise TypeError("no tool with TOML has a list of items")
        if not isinstance(here, dict):
            raise shape_error(edit.path[:depth], "a table")
        if depth == len(edit.path) - 1:
            _set(here, step, edit)
            return
        if step not in here:
            here[step] = _table(is_last=False)
        here = here[step]


def _set(here: Any, step: str, edit: Edit) -> None:  # noqa: ANN401 - as above
    value = edit.value
    if isinstance(value, dict):
        if step not in here:
            here[step] = _table(is_last=True)
        if not isinstance(here[step], dict):
            raise shape_error(edit.path, "a table")
        for name, inner in value.items():
            _edit(here[step], Edit(path=(name,), value=inner, is_default=edit.is_default))
    elif step not in here or (not edit.is_default and _differs(here[step], value)):
        here[step] = value


def _table(*, is_last: bool) -> Any:  # noqa: ANN401 - as above
    """Return a new table; one that only holds other tables is not written itself."""
    import tomlkit

    return tomlkit.table(is_super_table=not is_last)


def _differs(old: Any, value: Json) -> bool:  # noqa: ANN401 - as above
    plain = old.unwrap() if hasattr(old, "unwrap") else old
    return not is_same(plain, value)


def _spaced(before: str, after: str) -> str:
    """Return the edited text with an empty line between an inserted block and the next table."""
    end = 0
    for end in range(min(len(before), len(after)) + 1):
        if before[len(before) - end - 1 : len(before) - end] != after[-end - 1 : len(after) - end]:
            break
    position = len(after) - end
    position += after[position : position + 1] == "\n"
    is_joined = after[position:].startswith("[") and after[:position].endswith("\n")
    if is_joined and position and not after[:position].endswith("\n\n"):
        return f"{after[:position]}\n{after[position:]}"
    return after
