"""Bytes of a recipe file to the recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.modelfile.expand import expand
from localrun.modelfile.problems import ModelfileError, Problem
from localrun.modelfile.recipe import Recipe, to_recipe
from localrun.modelfile.source import decode_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localrun.modelfile.expand import Item, Reader
    from localrun.modelfile.instruction import Instruction


def parse_modelfile(
    content: bytes,
    name: str = "Modelfile",
    *,
    given: Mapping[str, str] | None = None,
    read: Reader | None = None,
) -> Recipe:
    """Return what a recipe file says; ``lint`` tells what is only worth a warning.

    ``name`` stands in messages, ``given`` are values for ARG, ``read`` finds what
    INCLUDE names (`folder.folder_reader`).

    Raises:
        ModelfileError: the first problem.
        UsageError: the file is too large.
    """
    items = expand(decode_source(content, name), given, read)
    return to_recipe(_instructions(items), name)


def _instructions(items: Iterable[Item]) -> Iterator[Instruction]:
    for item in items:
        if not isinstance(item, Problem):
            yield item
        elif item.severity == "error":
            raise ModelfileError(item)
