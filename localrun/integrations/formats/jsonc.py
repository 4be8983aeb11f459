"""Reader of JSON with comments, as a tree of nodes with their positions in the text.

Accepts // and /* */ comments and trailing commas as editors do, and of JSON5 keys without quotes
and strings in single quotes. Invariant: positions are half-open ranges of the text, and the text
outside of a value's range is never needed to decode it. Takes linear time; nesting is bounded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.integrations.edits import Json

MAX_DEPTH = 60
SPACE = re.compile(r"[\s\ufeff]+")
STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
SINGLE = re.compile(r"'(?:[^'\\\x00-\x1f]|\\.)*'")
NUMBER = re.compile(
    r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?(?:[eE][+-]?\d{1,4})?(?![\w.])", re.ASCII
)
WORD = re.compile(r"[A-Za-z_$][\w$]*")
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
CLOSING = {"{": "}", "[": "]"}


class JsoncError(UsageError):
    """The text is not JSON with comments."""


@dataclass(slots=True)
class JsonNode:
    """A value at ``text[start:end]``; the children of an object have keys."""

    start: int
    end: int = 0
    value: Json = None  # of a scalar
    container: str = ""  # "{", "[" or ""
    children: list[tuple[str, JsonNode]] = field(default_factory=list)  # keys are "" in a list
    last_comma: int | None = None  # position of a comma after the last child

    def child(self, key: str) -> JsonNode | None:
        """Return the value of a key; of equal keys the last counts."""
        return next((node for name, node in reversed(self.children) if name == key), None)

    def decoded(self) -> Json:
        """Return the value as Python has it."""
        if self.container == "{":
            return {key: node.decoded() for key, node in self.children}
        if self.container == "[":
            return [node.decoded() for _, node in self.children]
        return self.value


def parse_jsonc(text: str) -> JsonNode | None:
    """Return the root of a text, None if it holds nothing but comments.

    Raises:
        JsoncError: the text is malformed; the error names the line.
    """
    reader = _Reader(text)
    start = reader.skip(0)
    if start == len(text):
        return None
    root = reader.value(start, 0)
    end = reader.skip(root.end)
    if end != len(text):
        raise reader.error(end, "the file goes on after its value")
    return root


def skip_space(text: str, position: int) -> int:
    """Return the position after white space and comments.

    Raises:
        JsoncError: a comment does not end.
    """
    return _Reader(text).skip(position)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def error(self, position: int, problem: str) -> JsoncError:
        line = self._text.count("\n", 0, position) + 1
        return JsoncError(f"line {line}: {problem}")

    def skip(self, position: int) -> int:
        text = self._text
        while position < len(text):
            if match := SPACE.match(text, position):
                position = match.end()
            elif text.startswith("//", position):
                end = text.find("\n", position)
                position = len(text) if end < 0 else end
            elif text.startswith("/*", position):
                end = text.find("*/", position + 2)
                if end < 0:
                    raise self.error(position, "a comment does not end")
                position = end + 2
            else:
                break
        return position

    def value(self, position: int, depth: int) -> JsonNode:
        """Return the node of the value at a position without white space before it."""
        character = self._text[position : position + 1]
        if character in CLOSING and character:
            return self._container(position, depth)
        if character in {'"', "'"}:
            content, end = self._string(position)
            return JsonNode(position, end, content)
        if match := NUMBER.match(self._text, position):
            return JsonNode(position, match.end(), json.loads(match[0]))
        match = WORD.match(self._text, position)
        if match is None or match[0] not in WORDS:
            raise self.error(position, "a value is missing")
        return JsonNode(position, match.end(), WORDS[match[0]])

    def _container(self, position: int, depth: int) -> JsonNode:
        if depth == MAX_DEPTH:
            raise self.error(position, f"the file has more than {MAX_DEPTH} levels")
        node = JsonNode(position, container=self._text[position])
        closing = CLOSING[node.container]
        at = self.skip(position + 1)
        while not self._text.startswith(closing, at):
            if node.children and node.last_comma is None:
                raise self.error(at, f"a comma or {closing} is missing")
            key, at = self._key(at) if closing == "}" else ("", at)
            child = self.value(at, depth + 1)
            node.children.append((key, child))
            at = self.skip(child.end)
            node.last_comma = at if self._text.startswith(",", at) else None
            at = at if node.last_comma is None else self.skip(at + 1)
        node.end = at + 1
        return node

    def _key(self, position: int) -> tuple[str, int]:
        if self._text[position : position + 1] in {'"', "'"}:
            key, end = self._string(position)
        elif match := WORD.match(self._text, position):
            key, end = match[0], match.end()
        else:
            raise self.error(position, "a key is missing")
        colon = self.skip(end)
        if not self._text.startswith(":", colon):
            raise self.error(colon, f'":" is missing after {key[:50]}')
        return key, self.skip(colon + 1)

    def _string(self, position: int) -> tuple[str, int]:
        is_single = self._text[position] == "'"
        match = (SINGLE if is_single else STRING).match(self._text, position)
        if match is None:
            raise self.error(position, "a string does not end on its line")
        token = match[0]
        if is_single:
            token = _double_quoted(token)
        try:
            content = json.loads(token)
        except ValueError as error:
            raise self.error(position, "a string has an unknown escape") from error
        return str(content), match.end()


def _double_quoted(token: str) -> str:
    inner = re.sub(
        r"\\.|\"", lambda match: {"\\'": "'", '"': '\\"'}.get(match[0], match[0]), token[1:-1]
    )
    return f'"{inner}"'
