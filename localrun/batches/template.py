"""Template of prompts: text with the names of fields in braces, such as ``Classify: {text}``.

``{{`` and ``}}`` are braces. Knows no format of files.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PART = re.compile(r"\{\{|\}\}|\{([^{}]{0,200})\}|[{}]")
LITERALS = {"{{": "{", "}}": "}"}


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """A template: texts, each followed by the name of a field, the last by none."""

    parts: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(name for _, name in self.parts if name is not None)

    def fill(self, fields: Mapping[str, object]) -> str:
        """Return the prompt of some fields.

        Raises:
            UsageError: a field is missing.
        """
        texts = []
        for text, name in self.parts:
            texts.append(text)
            if name is not None:
                texts.append(field_text(fields, name))
        return "".join(texts)


def parse_template(text: str) -> PromptTemplate:
    """Return the template of a text.

    Raises:
        UsageError: a brace is alone, or there is no field at all.
    """
    parts: list[tuple[str, str | None]] = []
    literal, end = "", 0
    for found in _PART.finditer(text):
        literal += text[end : found.start()]
        end = found.end()
        if found[0] in LITERALS:
            literal += LITERALS[found[0]]
        elif found[1]:
            parts.append((literal, found[1].strip()))
            literal = ""
        else:
            raise UsageError(
                f"--template has a brace that names no field, at character {found.start() + 1}",
                hint="{{ and }} are braces",
            )
    if not parts:
        raise UsageError("--template names no field", hint='--template "Classify: {text}"')
    return PromptTemplate((*parts, (literal + text[end:], None)))


def field_text(fields: Mapping[str, object], name: str) -> str:
    """Return a field as text; what is no text is written as JSON.

    Raises:
        UsageError: there is no such field.
    """
    if name not in fields:
        known = ", ".join(list(fields)[:20])
        raise UsageError(f"there is no field {name!r}, only {known or 'none'}")
    value = fields[name]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
