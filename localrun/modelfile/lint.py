"""Linter of Modelfiles: all problems at once.

Problems of the text are found here. Checks of models and files come from the caller; each finding
of a check is reported at the position of its value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.expand import expand
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parse import (
    no_source,
    read_adapter,
    read_parameter,
    read_texts,
    read_version,
)
from localrun.modelfile.problems import ModelfileError, Problem, Severity, problem_at
from localrun.modelfile.source import decode_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localrun.modelfile.expand import Item
    from localrun.modelfile.instruction import Instruction
    from localrun.modelfile.source import Reader, SourceText

MAX_PROBLEMS = 200
SINGLE = frozenset({"DRAFT", "TEMPLATE", "SYSTEM", "RENDERER", "PARSER", "REQUIRES"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A value to check."""

    keyword: str  # FROM, ADAPTER, TEMPLATE, ...
    value: str  # only the path of an ADAPTER
    sources: tuple[str, ...]  # every FROM of the recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """A problem that a check found in a value."""

    code: str
    message: str
    hint: str | None = None
    severity: Severity = "error"


Check = Callable[[Use], LintFinding | None]


def lint(
    content: bytes,
    name: str = "Modelfile",
    *,
    arg_values: Mapping[str, str] | None = None,
    read: Reader | None = None,
    checks: Iterable[Check] = (),
) -> list[Problem]:
    """Return the problems of a Modelfile in the order of their positions, at most 200.

    Raises:
        UsageError: the file is too large.
    """
    source = decode_source(content, name)
    items = list(_first(expand(source, arg_values, read)))
    instructions = [item for item in items if not isinstance(item, Problem)]
    problems = [
        *_replaced(source),
        *(item for item in items if isinstance(item, Problem)),
        *islice(_repeated(instructions), MAX_PROBLEMS),
        *islice(_wrong_values(instructions), MAX_PROBLEMS),
        *islice(_findings(instructions, tuple(checks)), MAX_PROBLEMS),
    ]
    if not read_texts(instructions, "FROM"):
        problems.append(no_source(name))
    return _in_order(problems, name)[:MAX_PROBLEMS]


def _first(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items up to `MAX_PROBLEMS` problems."""
    num_problems = 0
    for item in items:
        yield item
        num_problems += isinstance(item, Problem)
        if num_problems == MAX_PROBLEMS:
            return


def _replaced(source: SourceText) -> Iterator[Problem]:
    offset = source.first_replaced
    if offset is not None:
        yield problem_at(
            source.position(offset),
            "not-utf8",
            "here the file is not UTF-8",
            hint="save the file as UTF-8",
            severity="warning",
        )


def _repeated(instructions: Iterable[Instruction]) -> Iterator[Problem]:
    """Yield a warning for each instruction that replaces an earlier one of the same file."""
    seen: set[tuple[SourceText, str]] = set()
    for instruction in instructions:
        kind = instruction.kind
        is_single = instruction.keyword in SINGLE or (
            instruction.keyword == "PARAMETER" and instruction.extra not in LISTS
        )
        if is_single and (instruction.source, kind) in seen:
            yield problem_at(
                instruction.position,
                "repeated",
                f"{kind} is repeated: only the last one counts",
                hint="remove the others",
                severity="warning",
            )
        seen.add((instruction.source, kind))


def _wrong_values(instructions: Iterable[Instruction]) -> Iterator[Problem]:
    for instruction in instructions:
        try:
            if instruction.keyword == "PARAMETER":
                read_parameter(instruction)
                yield from _deprecated(instruction)
            elif instruction.keyword == "ADAPTER":
                read_adapter(instruction)
            elif instruction.keyword == "REQUIRES":
                read_version(instruction)
        except ModelfileError as error:
            yield error.problem


def _deprecated(instruction: Instruction) -> Iterator[Problem]:
    reason = KNOWN[str(instruction.extra)].deprecated
    if reason:
        yield problem_at(
            instruction.extra_position,
            "deprecated",
            f"{instruction.extra}: {reason}",
            hint="remove the line",
            severity="warning",
        )


def _findings(instructions: list[Instruction], checks: tuple[Check, ...]) -> Iterator[Problem]:
    sources = tuple(read_texts(instructions, "FROM"))
    for instruction in instructions:
        use = Use(keyword=instruction.keyword, value=_checked_value(instruction), sources=sources)
        for check in checks:
            finding = check(use)
            if finding:
                yield problem_at(
                    instruction.value_position,
                    finding.code,
                    finding.message,
                    hint=finding.hint,
                    severity=finding.severity,
                )


def _checked_value(instruction: Instruction) -> str:
    if instruction.keyword != "ADAPTER":
        return instruction.value
    try:
        return read_adapter(instruction).path
    except UsageError:  # reported by _wrong_values
        return instruction.value


def _in_order(problems: Iterable[Problem], name: str) -> list[Problem]:
    """Return each problem once: those of the top file first, then by file and line."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda problem: (problem.file != name, problem.file, problem.line, problem.column),
    )
