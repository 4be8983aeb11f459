"""What a recipe says, as plain values.

    FROM llama3.2                 sources      in order: a model, or weights and projector
    ADAPTER ./pirate.gguf 0.8     adapters     all of them, in order
    TEMPLATE, SYSTEM, ...         the last one counts, as in Ollama
    LICENSE, MESSAGE              all of them, in order
    PARAMETER                     in order; the lists (stop) repeat. Of another one that is
                                  repeated the last value counts, at the first one's place

A deprecated parameter is checked and left out, as in Ollama. Paths are as written:
relative to the folder of the top file. An empty FROM is that folder.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from localrun.errors import UsageError
from localrun.modelfile.instruction import most_of
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parameters import DECIMAL, ParameterError, ParameterValue, parse_parameter
from localrun.modelfile.problems import ModelfileError, Problem, problem_at, shown
from localrun.modelfile.quoting import BLANKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localrun.modelfile.instruction import Instruction

Role = Literal["system", "user", "assistant"]

LONGEST_WORD = 128  # of a scale or a version
NUMBER = r"(?:0|[1-9]\d*)"
LABEL = rf"(?:{NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
# what golang.org/x/mod/semver takes: 1, 1.2 or 1.2.3 with what follows
VERSION = re.compile(
    rf"v?(?P<version>{NUMBER}(?:\.{NUMBER}(?:\.{NUMBER}"
    rf"(?:-{LABEL}(?:\.{LABEL})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?)?)?)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeMessage:
    """A message that begins every conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterUse:
    """An adapter and how strongly it works."""

    path: str
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise ValueError(f"the scale of an adapter is a number, not {self.scale}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A recipe; a parameter that is no list has one value.

    Raises:
        UsageError: it has more of something than a model can have.
    """

    sources: tuple[str, ...]
    adapters: tuple[AdapterUse, ...] = ()
    draft: str | None = None
    template: str | None = None
    system: str | None = None
    licenses: tuple[str, ...] = ()
    messages: tuple[RecipeMessage, ...] = ()
    parameters: tuple[tuple[str, ParameterValue], ...] = ()
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None  # without "v"

    def __post_init__(self) -> None:
        num_uses = Counter(name for name, _ in self.parameters if name not in LISTS)
        repeated = [name for name, uses in num_uses.items() if uses > 1]
        if repeated:
            raise ValueError(f"parameters with two values: {', '.join(repeated)}")
        for what, number in self._numbers():
            if number > most_of(what):
                raise UsageError(f"a recipe has at most {most_of(what)} {what}, this one {number}")

    def _numbers(self) -> Iterator[tuple[str, int]]:
        """Yield how many there are of what may repeat."""
        yield from (
            ("FROM", len(self.sources)),
            ("ADAPTER", len(self.adapters)),
            ("LICENSE", len(self.licenses)),
            ("MESSAGE", len(self.messages)),
        )
        counts = Counter(name for name, _ in self.parameters)
        yield from ((f"PARAMETER {name}", number) for name, number in counts.items())


def to_recipe(instructions: Iterable[Instruction], name: str) -> Recipe:
    """Return what the instructions of the file ``name`` say together.

    Raises:
        ModelfileError: the first value that is wrong, or there is no FROM.
    """
    written = list(instructions)
    sources = tuple(read_texts(written, "FROM"))
    if not sources:
        raise ModelfileError(no_source(name))
    return Recipe(
        sources=sources,
        adapters=tuple(read_adapter(each) for each in written if each.keyword == "ADAPTER"),
        draft=_last(written, "DRAFT"),
        template=_last(written, "TEMPLATE"),
        system=_last(written, "SYSTEM"),
        licenses=tuple(read_texts(written, "LICENSE")),
        messages=tuple(read_message(each) for each in written if each.keyword == "MESSAGE"),
        parameters=_parameters(written),
        renderer=_last(written, "RENDERER"),
        parser=_last(written, "PARSER"),
        requires=next(
            (read_version(each) for each in reversed(written) if each.keyword == "REQUIRES"), None
        ),
    )


def no_source(name: str) -> Problem:
    """Return the problem of a file without FROM."""
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
    """Return the values of all instructions of a kind."""
    return [each.value for each in instructions if each.keyword == keyword]


def read_message(instruction: Instruction) -> RecipeMessage:
    """Return the message of a MESSAGE; its role was checked when it was read."""
    return RecipeMessage(role=cast("Role", instruction.extra), content=instruction.value)


def read_adapter(instruction: Instruction) -> AdapterUse:
    """Return path and scale of an ADAPTER.

    Raises:
        ModelfileError: what follows the path is no number.
    """
    path, scale = instruction.value, instruction.extra
    if instruction.is_plain and ends_with_number(path):
        scale = _last_word(path)
        path = path.removesuffix(scale).rstrip(BLANKS)
    value = 1.0 if scale is None else _scale(scale)
    if math.isfinite(value):
        return AdapterUse(path=path, scale=value)
    place = instruction.extra_place if instruction.extra else instruction.value_place
    raise ModelfileError(
        problem_at(
            place,
            "bad-scale",
            f"the scale of an adapter is a number, not {shown(scale or '')}",
            hint="ADAPTER ./adapter.gguf 0.8",
        )
    )


def ends_with_number(path: str) -> bool:
    """Return whether plain text is a path with a scale behind it."""
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
        place = instruction.extra_place if is_name else instruction.value_place
        problem = problem_at(place, error.fault, error.message, hint=error.hint)
        raise ModelfileError(problem) from error


def read_version(instruction: Instruction) -> str:
    """Return the version of a REQUIRES, without "v".

    Raises:
        ModelfileError: it is none.
    """
    text = instruction.value
    version = VERSION.fullmatch(text) if len(text) <= LONGEST_WORD else None
    if not version:
        raise ModelfileError(
            problem_at(
                instruction.value_place,
                "bad-version",
                f"not a version: {shown(text)}",
                hint="REQUIRES 0.14.0",
            )
        )
    return version["version"]


def _scale(text: str) -> float:
    return float(text) if _is_decimal(text) else math.nan


def _last_word(path: str) -> str:
    return path.replace("\t", " ").rpartition(" ")[2]


def _is_decimal(word: str) -> bool:
    return len(word) <= LONGEST_WORD and DECIMAL.fullmatch(word) is not None


def _last(instructions: list[Instruction], keyword: str) -> str | None:
    values = read_texts(instructions, keyword)
    return values[-1] if values else None


def _parameters(instructions: list[Instruction]) -> tuple[tuple[str, ParameterValue], ...]:
    kept: dict[tuple[str, int], ParameterValue] = {}
    for number, each in enumerate(instructions):
        if each.keyword != "PARAMETER":
            continue
        name, value = str(each.extra), read_parameter(each)
        if not KNOWN[name].deprecated:
            kept[name, number if name in LISTS else 0] = value
    return tuple((name, value) for (name, _), value in kept.items())
