"""Text, lists and objects of a given size that cost careless readers the most."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

KB, MB = 1000, 1_000_000
SIZES = (10 * KB, 100 * KB, MB)

UNITS = {  # what a text repeats: a start and the part that is repeated
    "letter": ("", "a"),
    "newlines": ("", "\n"),
    "carriage returns": ("", "\r\n"),
    "spaces": ("", " "),
    "spaces before a letter": ("x", "   x"),
    "words": ("", "hello "),
    "digits": ("", "9"),
    "brackets": ("", "["),
    "braces": ("", "{"),
    "parentheses": ("", "("),
    "json arrays": ("", "[1,"),
    "json objects": ("", '{"a":'),
    "quotes": ("", '"'),
    "triple quotes": ("", '"""'),
    "single quotes": ("", "'"),
    "backslashes": ("", "\\"),
    "percent s": ("", "%s"),
    "dollar names": ("ARG a=b\nSYSTEM ", "${a}"),
    "jinja comments": ("{% if x %}{% endif %}", "{#"),
    "jinja blocks": ("", "{%"),
    "jinja ifs": ("", "{% if x %}"),
    "jinja values": ("", "{{ x }}"),
    "jinja sums": ("{{ 1", "+1"),
    "jinja filters": ("{{ 'a'", "|upper"),
    "go values": ("", "{{ .Prompt }}"),
    "go ranges": ("", "{{ range .Messages }}"),
    "thoughts": ("", "<think>"),
    "ends of thoughts": ("", "</think>"),
    "tool calls": ("", "<tool_call>"),
    "control tokens": ("", "<|im_end|>"),
    "angles": ("", "<"),
    "bars": ("", "|"),
    "regex": ("", "(a+)+"),
    "regex counts": ("a", "{1,9}"),
    "alternatives": ("a", "|a"),
    "grammar rules": ('start: "a"\n', 'a: "a"\n'),
    "gbnf rules": ('root ::= "a"\n', 'a ::= "a"\n'),
    "instructions": ("FROM guide\n", "PARAMETER stop a\n"),
    "hashes": ("", "#"),
    "dots": ("a", ".a"),
    "slashes": ("a", "/a"),
    "colons": ("a", ":a"),
    "plus signs": ("guide", "+guide"),
    "combining marks": ("a", "\u0301"),
    "emoji": ("", "\N{GRINNING FACE}"),
    "joiners": ("", "\u200d"),
    "controls": ("", "\x01\x1b[0m"),
    "nul": ("", "\0"),
    "base64": ("data:image/png;base64,", "QUFB"),
}


def text_of(name: str, num_bytes: int) -> str:
    """Return a text of about so many bytes."""
    start, unit = UNITS[name]
    return start + unit * (max(0, num_bytes - len(start)) // len(unit.encode()))


def _nested(num_bytes: int, opening: str, closing: str) -> Any:
    """Return as deep a value as JSON can be read here, repeated up to the size."""
    depth = min(60, num_bytes // 20)
    inner = json.loads(opening * depth + "1" + closing * depth)
    return [inner] * max(1, num_bytes // (len(opening + closing) * depth + 3))


def _named(num_bytes: int) -> dict[str, Any]:
    return {f"k{number}": 0 for number in range(num_bytes // 10)}


def _schema(num_bytes: int) -> dict[str, Any]:
    names = _named(num_bytes // 2)
    return {"type": "object", "properties": {key: {} for key in names}, "required": list(names)}


OBJECTS: dict[str, Callable[[int], Any]] = {
    "many keys": _named,
    "nested": lambda n: {"a": _nested(n, '{"a":', "}")},
    "long key": lambda n: {"a" * n: 1},
    "long value": lambda n: {"a": "a" * n},
    "properties": _schema,
    "pattern": lambda n: {"type": "string", "pattern": text_of("regex", n)},
    "enum": lambda n: {"enum": [str(number) for number in range(n // 8)]},
    "choices": lambda n: {"anyOf": [{"type": "string"}] * (n // 18)},
    "function": lambda n: {"type": "function", "function": {"name": "a" * n, "parameters": {}}},
    "described": lambda n: {"type": "function", "function": {"name": "f", "description": "{%" * n}},
    "typed": lambda n: {"type": "json_schema", "json_schema": {"schema": _schema(n)}},
    "grammar": lambda n: {"type": "grammar", "grammar": "\n" * n + "x"},
    "stops": lambda n: {"stop": ["a"] * (n // 4)},
}
ITEMS: dict[str, Any] = {  # what a list repeats, besides what its schema says
    "empty texts": "",
    "letters": "a",
    "zeros": 0,
    "nulls": None,
    "empty lists": [],
    "empty objects": {},
}


def list_of(item: Any, num_bytes: int) -> list[Any]:
    """Return a list whose JSON has about so many bytes."""
    return [item] * max(1, num_bytes // (len(json.dumps(item)) + 2))


def deep_lists(num_bytes: int) -> list[Any]:
    """Return lists within lists."""
    return [_nested(num_bytes, "[", "]")]
