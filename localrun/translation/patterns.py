"""Patterns of tensor names in rules, and the names that replace them.

    token_embd.weight     the whole name
    v.patch_embedding.    a beginning, because of the dot behind it
    .ssm_dt               an end, because of the dot in front
    .attn_out.            parts anywhere
    v.blk.*.attn_q.       a star stands for a number, which a new name repeats as {*}

In a new name {+} is the number plus the number of the text model's layers, and {some.key} is the
item at that place in a list of the header. Without a star, the number is 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError

if TYPE_CHECKING:
    from localrun.gguf.header import Header

PLACEHOLDER = re.compile(r"\{([^{}]{1,100})\}")
NUMBER = r"([0-9]{1,6})"
LAYERS = "blk.*."


@dataclass(frozen=True, slots=True)
class Numbers:
    """Header of the file that is translated, with the number of its text model's layers."""

    header: Header
    num_layers: int

    def fill(self, template: str, number: int) -> str:
        """Return a new name with its placeholders filled.

        Raises:
            IntegrityError: a list of the header lacks the number's item.
        """
        return PLACEHOLDER.sub(lambda found: self._filled(found[1], number), template)

    def _filled(self, placeholder: str, number: int) -> str:
        if placeholder == "*":
            return str(number)
        if placeholder == "+":
            return str(number + self.num_layers)
        items = self.header.metadata.get(placeholder)
        item = items[number] if isinstance(items, list) and number < len(items) else None
        if not isinstance(item, int):
            raise IntegrityError(f"{placeholder} of the header has no item {number}")
        return str(item)


def numbers_of(header: Header) -> Numbers:
    """Return the numbers of a file; its layers are counted by its tensors."""
    return Numbers(header, count_numbers(header, LAYERS))


def count_numbers(header: Header, pattern: str) -> int:
    """Return one more than the largest number that a tensor has at the star of a pattern."""
    found = (match(pattern, name) for name in header.tensors)
    return max((number_in(each) for each in found if each is not None), default=-1) + 1


def is_like(name: str, pattern: str) -> bool:
    """Return whether a pattern matches a name."""
    return match(pattern, name) is not None


def match(pattern: str, name: str) -> re.Match[str] | None:
    """Return where a pattern matches a name, or None."""
    return _compiled(pattern).search(name)


def number_in(found: re.Match[str]) -> int:
    """Return the number at the star of a pattern, 0 without a star."""
    return int(found[1]) if found.re.groups else 0


def renamed(pattern: str, template: str, name: str, numbers: Numbers) -> str:
    """Return a name with the part that a pattern matches replaced; else the same name."""
    found = match(pattern, name)
    if found is None:
        return name
    return name[: found.start()] + numbers.fill(template, number_in(found)) + name[found.end() :]


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    inner = NUMBER.join(re.escape(part) for part in pattern.split("*"))
    start = "" if pattern.startswith(".") else r"\A"
    end = "" if pattern.endswith(".") else r"\Z"
    return re.compile(start + inner + end)
