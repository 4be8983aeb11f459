"""Edits of JSON with comments in place: only the text of the edited values changes.

Comments, order, indentation, trailing commas and line ends stay. A new key goes after the last one,
with the indentation of its neighbours and a trailing comma only if there was one.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from localrun.integrations.edits import (
    Edit,
    Item,
    element_of,
    empty_root,
    is_same,
    new_value,
    shape_error,
)
from localrun.integrations.formats.jsonc import JsonNode, parse_jsonc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.integrations.edits import Json, Step

INDENT = re.compile(r"^([ \t]+)\S", re.MULTILINE)
LINE_SPACE = re.compile(r"[ \t]*")
COMMENT = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/)")
DEFAULT_INDENT = "  "


def edited_jsonc(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with the edits.

    Raises:
        JsoncError: the text is malformed.
        ShapeError: a part of a path is not an object or a list.
    """
    for edit in edits:
        text = _edited(text, edit)
    return text


def decoded_jsonc(text: str) -> Json:
    """Return the value of a text, None if it is empty."""
    root = parse_jsonc(text)
    return None if root is None else root.decoded()


def _edited(text: str, edit: Edit) -> str:
    root = parse_jsonc(text)
    if root is None:
        head = text if not text or text.endswith("\n") else text + _newline(text)
        empty = json.dumps(empty_root(edit.path))
        return _edited(f"{head}{empty}{_newline(text)}", edit)
    node = root
    for depth, step in enumerate(edit.path):
        child = _child(node, step, edit.path[:depth])
        if child is None:
            return _Insertion(text, node).made(step, edit.path[depth + 1 :], edit.value)
        node = child
    return _replaced(text, node, edit)


def _child(node: JsonNode, step: Step, path: Sequence[Step]) -> JsonNode | None:
    if isinstance(step, str):
        if node.container != "{":
            raise shape_error(path, "an object")
        return node.child(step)
    if node.container != "[":
        raise shape_error(path, "a list")
    for _, element in node.children:
        named = element.child(step.field) if element.container == "{" else None
        if named is not None and named.value == step.value and not named.container:
            return element
    return None


def _replaced(text: str, node: JsonNode, edit: Edit) -> str:
    """Replace the value at the end of the path; merge objects key by key."""
    if isinstance(edit.value, dict) and node.container == "{":
        for key, value in edit.value.items():
            text = _edited(
                text, Edit(path=(*edit.path, key), value=value, is_default=edit.is_default)
            )
        return text
    if edit.is_default or is_same(node.decoded(), edit.value):
        return text
    indent = _indent_at(text, node.start)
    return text[: node.start] + _rendered(text, edit.value, indent) + text[node.end :]


class _Insertion:
    """A new child of a container, after its last one."""

    def __init__(self, text: str, node: JsonNode) -> None:
        self._text, self._node = text, node
        self._newline = _newline(text)

    def made(self, step: Step, rest: Sequence[Step], value: Json) -> str:
        """Return the text with the new child."""
        indent = self._child_indent()
        if isinstance(step, Item):
            child = _rendered(self._text, element_of(step, rest, value), indent)
        else:
            child = f"{json.dumps(step, ensure_ascii=False)}: "
            child += _rendered(self._text, new_value(rest, value), indent)
        return self._into_empty(child) if not self._node.children else self._after_last(child)

    def _into_empty(self, child: str) -> str:
        text, end = self._text, self._node.end - 1
        head = text[:end].rstrip()
        outer = _indent_at(text, self._node.start)
        new = f"{self._newline}{self._child_indent()}{child}{self._newline}{outer}"
        return head + new + text[end:]

    def _after_last(self, child: str) -> str:
        text, node = self._text, self._node
        last_end, comma = node.children[-1][1].end, node.last_comma
        if not self._has_lines():
            return f"{text[:last_end]}, {_one_line(child)}{text[last_end:]}"
        before = text[: last_end if comma is None else comma + 1]
        position = len(before)
        kept_end = _end_of_comments(text, position)
        separator, tail = (",", "") if comma is None else ("", ",")
        new = f"{self._newline}{self._child_indent()}{child}{tail}"
        return before + separator + text[position:kept_end] + new + text[kept_end:]

    def _has_lines(self) -> bool:
        return "\n" in self._text[self._node.start : self._node.children[0][1].start]

    def _child_indent(self) -> str:
        if self._node.children and self._has_lines():
            return _indent_at(self._text, self._node.children[-1][1].start)
        return _indent_at(self._text, self._node.start) + _unit(self._text)


def _end_of_comments(text: str, position: int) -> int:
    """Return the end of the comments that follow on the same line."""
    while match := COMMENT.match(text, position):
        position = match.end()
    return position


def _one_line(child: str) -> str:
    return re.sub(r"\r?\n[ \t]*", " ", child) if "\n" in child else child


def _rendered(text: str, value: Json, indent: str) -> str:
    """Return a value as JSON, its lines indented as those of the text."""
    lines = json.dumps(value, ensure_ascii=False, indent=_unit(text)).split("\n")
    return (_newline(text) + indent).join(lines)


def _indent_at(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    match = LINE_SPACE.match(text, start)
    return match[0] if match else ""


def _unit(text: str) -> str:
    match = INDENT.search(text)
    if match is None:
        return DEFAULT_INDENT
    return "\t" if match[1].startswith("\t") else match[1]


def _newline(text: str) -> str:
    position = text.find("\n")
    return "\r\n" if position > 0 and text[position - 1] == "\r" else "\n"
