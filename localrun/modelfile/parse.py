"""Parser from a Modelfile's bytes to a `Recipe`, and the values of single instructions.

Parsing stops at the first error; ``lint.py`` reports all of them. Instructions are checked for
their values only: models and files are not looked at.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, cast

from localrun.modelfile.expand import expand
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parameters import DECIMAL, ParameterError, ParameterValue, parse_parameter
from localrun.modelfile.problems import ModelfileError, Problem, problem_at, shown
from localrun.modelfile.quoting import BLANKS
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.source import decode_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localrun.modelfile.expand import Item
    from localrun.modelfile.instruction import Instruction
    from localrun.modelfile.recipe import Role
    from localrun.modelfile.source import Reader

LONGEST_WORD = 128  # characters of a scale or a version
NUMBER = r"(?:0|[1-9]\d*)"
LABEL = rf"(?:{NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
# as golang.org/x/mod/semver: 1, 1.2, or 1.2.3 with pre-release and build
VERSION = re.compile(
    rf"v?(?P<version>{NUMBER}(?:\.{NUMBER}(?:\.{NUMBER}"
    rf"(?:-{LABEL}(?:\.{LABEL})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?)",
    re.ASCII,
)


def parse_modelfile(
    content: bytes,
    name: str = "Modelfile",
    *,
    arg_values: Mapping[str, str] | None = None,
    read: Reader | None = None,
) -> Recipe:
    """Return the recipe of a Modelfile.

    ``name`` is the file's name in messages, ``arg_values`` are values for ARG, ``read`` reads the
    files of INCLUDE (`source.folder_reader`).

    Raises:
        ModelfileError: the first problem.
        UsageError: the file is too large.
    """
    items = expand(decode_source(content, name), arg_values, read)
    return to_recipe(_instructions(items), name)


def to_recipe(instructions: Iterable[Instruction], name: str) -> Recipe:
    """Return the recipe of the instructions of the file ``name``.

    Raises:
        ModelfileError: the first wrong value, or a missing FROM.
    """
    statements = list(instructions)
    sources = tuple(read_texts(statements, "FROM"))
    if not sources:
        raise ModelfileError(no_source(name))
    requires = _with_keyword(statements, "REQUIRES")
    return Recipe(
        sources=sources,
        adapters=tuple(map(read_adapter, _with_keyword(statements, "ADAPTER"))),
        draft=_last(statements, "DRAFT"),
        template=_last(statements, "TEMPLATE"),
        system=_last(statements, "SYSTEM"),
        licenses=tuple(read_texts(statements, "LICENSE")),
        messages=tuple(map(read_message, _with_keyword(statements, "MESSAGE"))),
        parameters=_parameters(statements),
        renderer=_last(statements, "RENDERER"),
        parser=_last(statements, "PARSER"),
        requires=next(map(read_version, reversed(requires)), None),
    )


def no_source(name: str) -> Problem:
    """Return the problem of a Modelfile without FROM."""
    return Problem(
        file=name,
        line=1,
        column=1,
        severity="error",
        code="missing-from",
        message="there is no FROM",
        hint="the first line: FROM guide",
    )


def read_texts(instructions: Iterable[Instruction], keyword: str) -> list[str]:
    """Return the values of all instructions with a keyword."""
    return [instruction.value for instruction in instructions if instruction.keyword == keyword]


def read_message(instruction: Instruction) -> RecipeMessage:
    """Return the message of a MESSAGE, whose role the lexer has checked."""
    return RecipeMessage(role=cast("Role", instruction.extra), content=instruction.value)


def read_adapter(instruction: Instruction) -> AdapterUse:
    """Return the path and scale of an ADAPTER.

    Raises:
        ModelfileError: the scale is not a number.
    """
    path, scale = instruction.value, instruction.extra
    if instruction.is_plain and ends_with_number(path):
        scale = _last_word(path)
        path = path.removesuffix(scale).rstrip(BLANKS)
    value = 1.0 if scale is None else _scale(scale)
    if math.isfinite(value):
        return AdapterUse(path=path, scale=value)
    position = instruction.extra_position if instruction.extra else instruction.value_position
    raise ModelfileError(
        problem_at(
            position,
            "bad-scale",
            f"the scale of an adapter is a number, not {shown(scale or '')}",
            hint="ADAPTER ./adapter.gguf 0.8",
        )
    )


def ends_with_number(path: str) -> bool:
    """Return whether plain text is a path followed by a scale."""
    word = _last_word(path)
    return path != word and _is_decimal(word)


def read_parameter(instruction: Instruction) -> ParameterValue:
    """Return the value of a PARAMETER.

    Raises:
        ModelfileError: the name or the value is wrong.
    """
    try:
        return parse_parameter(str(instruction.extra), instruction.value)
    except ParameterError as error:
        is_name = error.fault in {"unknown-parameter", "removed-parameter"}
        position = instruction.extra_position if is_name else instruction.value_position
        problem = problem_at(position, error.fault, error.message, hint=error.hint)
        raise ModelfileError(problem) from error


def read_version(instruction: Instruction) -> str:
    """Return the version of a REQUIRES, without "v".

    Raises:
        ModelfileError: the value is not a version.
    """
    text = instruction.value
    version = VERSION.fullmatch(text) if len(text) <= LONGEST_WORD else None
    if not version:
        raise ModelfileError(
            problem_at(
                instruction.value_position,
                "bad-version",
                f"not a version: {shown(text)}",
                hint="REQUIRES 0.14.0",
            )
        )
    return version["version"]


def _instructions(items: Iterable[Item]) -> Iterator[Instruction]:
    for item in items:
        if not isinstance(item, Problem):
            yield item
        elif item.severity == "error":
            raise ModelfileError(item)


def _scale(text: str) -> float:
    return float(text) if _is_decimal(text) else math.nan


def _last_word(path: str) -> str:
    return path.replace("\t", " ").rpartition(" ")[2]


def _is_decimal(word: str) -> bool:
    return len(word) <= LONGEST_WORD and DECIMAL.fullmatch(word) is not None


def _with_keyword(instructions: Iterable[Instruction], keyword: str) -> list[Instruction]:
    return [instruction for instruction in instructions if instruction.keyword == keyword]


def _last(instructions: list[Instruction], keyword: str) -> str | None:
    values = read_texts(instructions, keyword)
    return values[-1] if values else None


def _parameters(instructions: list[Instruction]) -> tuple[tuple[str, ParameterValue], ...]:
    kept: dict[tuple[str, int], ParameterValue] = {}
    for index, instruction in enumerate(instructions):
        if instruction.keyword != "PARAMETER":
            continue
        name, value = str(instruction.extra), read_parameter(instruction)
        if not KNOWN[name].deprecated:
            kept[name, index if name in LISTS else 0] = value
    return tuple((name, value) for (name, _), value in kept.items())
