"""Short ways to read a recipe in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.modelfile.instruction import Instruction
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.problems import ModelfileError, Problem
from localrun.modelfile.source import SourceText
from localrun.modelfile.syntax import read_instructions

if TYPE_CHECKING:
    from localrun.modelfile.recipe import Recipe

Entry = tuple[str, str, str]


def items(text: str) -> list[Instruction | Problem]:
    return list(read_instructions(SourceText(name="Modelfile", text=text)))


def entries(text: str) -> list[Entry] | None:
    """Return keyword, extra and value of each instruction, None where one is wrong."""
    read = items(text)
    written = [(i.keyword, i.extra or "", i.value) for i in read if isinstance(i, Instruction)]
    return written if len(written) == len(read) else None


def only(text: str) -> Instruction:
    (item,) = items(text)
    assert isinstance(item, Instruction)
    return item


def problems(text: str) -> list[tuple[int, int, str]]:
    """Return line, column and code of what is wrong."""
    return [(i.line, i.column, i.code) for i in items(text) if isinstance(i, Problem)]


def recipe(text: str, **given: str) -> Recipe:
    return parse_modelfile(text.encode(), arg_values=given)


def refusal(text: str, **given: str) -> Problem:
    with pytest.raises(ModelfileError) as caught:
        recipe(text, **given)
    return caught.value.problem
