"""All problems of a recipe at once.

What the text alone shows is found here; what takes a look at models and files comes
from the caller as checks, whose findings get the place of the value they are about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.modelfile.expand import expand
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.problems import ModelfileError, Problem, Severity, problem_at
from localrun.modelfile.recipe import (
    no_source,
    read_adapter,
    read_parameter,
    read_texts,
    read_version,
)
from localrun.modelfile.source import decode_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from localrun.modelfile.expand import Item, Reader
    from localrun.modelfile.instruction import Instruction
    from localrun.modelfile.source import SourceText

MOST_PROBLEMS = 200
SINGLE = frozenset({"DRAFT", "TEMPLATE", "SYSTEM", "RENDERER", "PARSER", "REQUIRES"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A value for a check to look at."""

    keyword: str  # FROM, ADAPTER, TEMPLATE, ...
    value: str  # of an ADAPTER the path alone
    sources: tuple[str, ...]  # every FROM of the recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """What a check has against a value."""

    code: str
    message: str
    hint: str | None = None
    severity: Severity = "error"


Check = Callable[[Use], LintFinding | None]


def lint(
    content: bytes,
    name: str = "Modelfile",
    *,
    given: Mapping[str, str] | None = None,
    read: Reader | None = None,
    checks: Iterable[Check] = (),
) -> list[Problem]:
    """Return the problems in the order in which they stand; more than 200 are not told.

    Raises:
        UsageError: the file is too large.
    """
    source = decode_source(content, name)
    items = list(_first(expand(source, given, read)))
    instructions = [item for item in items if not isinstance(item, Problem)]
    found = [
        *_replaced(source),
        *(item for item in items if isinstance(item, Problem)),
        *islice(_repeated(instructions), MOST_PROBLEMS),
        *islice(_wrong_values(instructions), MOST_PROBLEMS),
        *islice(_findings(instructions, tuple(checks)), MOST_PROBLEMS),
    ]
    if not read_texts(instructions, "FROM"):
        found.append(no_source(name))
    return _in_order(found, name)[:MOST_PROBLEMS]


def _first(items: Iterable[Item]) -> Iterator[Item]:
    """Yield items until there are too many problems among them."""
    num_problems = 0
    for item in items:
        yield item
        num_problems += isinstance(item, Problem)
        if num_problems == MOST_PROBLEMS:
            return


def _replaced(source: SourceText) -> Iterator[Problem]:
    offset = source.first_replaced
    if offset is not None:
        yield problem_at(
            source.place(offset),
            "not-utf8",
            "here the file is not UTF-8",
            hint="save the file as UTF-8",
            severity="warning",
        )


def _repeated(instructions: Iterable[Instruction]) -> Iterator[Problem]:
    """Yield a warning for what stands twice in one file and counts once."""
    seen: set[tuple[SourceText, str]] = set()
    for each in instructions:
        what = each.what
        is_single = each.keyword in SINGLE or (
            each.keyword == "PARAMETER" and each.extra not in LISTS
        )
        if is_single and (each.source, what) in seen:
            yield problem_at(
                each.place,
                "repeated",
                f"{what} stands here again: only the last one counts",
                hint="leave out the others",
                severity="warning",
            )
        seen.add((each.source, what))


def _wrong_values(instructions: Iterable[Instruction]) -> Iterator[Problem]:
    for each in instructions:
        try:
            if each.keyword == "PARAMETER":
                read_parameter(each)
                yield from _deprecated(each)
            elif each.keyword == "ADAPTER":
                read_adapter(each)
            elif each.keyword == "REQUIRES":
                read_version(each)
        except ModelfileError as error:
            yield error.problem


def _deprecated(instruction: Instruction) -> Iterator[Problem]:
    reason = KNOWN[str(instruction.extra)].deprecated
    if reason:
        yield problem_at(
            instruction.extra_place,
            "deprecated",
            f"{instruction.extra}: {reason}",
            hint="leave the line out",
            severity="warning",
        )


def _findings(instructions: list[Instruction], checks: tuple[Check, ...]) -> Iterator[Problem]:
    sources = tuple(read_texts(instructions, "FROM"))
    for each in instructions:
        use = Use(keyword=each.keyword, value=_checked_value(each), sources=sources)
        for check in checks:
            finding = check(use)
            if finding:
                yield problem_at(
                    each.value_place,
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
    except UsageError:  # told already
        return instruction.value


def _in_order(problems: Iterable[Problem], name: str) -> list[Problem]:
    """Return each problem once: the top file's first, then file by file, line by line."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda each: (each.file != name, each.file, each.line, each.column),
    )
