r"""Tasks of an evaluation: a prompt, and what its answer is compared with.

One JSON object a line, in the short form

    {"prompt": "2 + 2 =", "exact": "4"}          equal, apart from case and blanks
    {"prompt": "…", "contains": "Paris"}         a text, or a list of texts that must all occur
    {"prompt": "…", "regex": "^\\d+$"}           found anywhere in the answer
    {"prompt": "…", "number": 4, "tolerance": 0} the last number of the answer
    {"prompt": "…", "schema": {…}}               JSON of this schema, which the model is held to
    {"prompt": "…", "choices": ["a", "b"], "answer": 1}      the likeliest continuation
    {"prompt": "…", "judge": "Is it polite?"}    a judge model decides

with ``messages`` in place of ``prompt`` and ``system`` and ``id`` beside it; or a sample of
lm-evaluation-harness, or a line of a common data set (`samples`).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from localrun.errors import StorageError, UsageError
from localrun.evaluation.samples import as_short_form

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_TASKS = 100_000
MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_CHOICES = 64


class TaskKind(StrEnum):
    """How an answer is compared."""

    EXACT = "exact"
    CONTAINS = "contains"
    REGEX = "regex"
    NUMBER = "number"
    SCHEMA = "schema"
    CHOICES = "choices"
    JUDGE = "judge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task."""

    id: str
    kind: TaskKind
    messages: tuple[dict[str, Any], ...]
    target: Any  # by the kind: texts, a pattern, a number, a schema, an index, a question
    choices: tuple[str, ...] = ()
    tolerance: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> str:
        """Return the text of the last message."""
        content = self.messages[-1].get("content")
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def read_tasks(path: Path, name: str, limit: int | None = None) -> list[Task]:
    """Return the tasks of a file, at most ``limit``.

    Raises:
        UsageError: a line is no task; the error names it.
        StorageError: the file cannot be read.
    """
    tasks: list[Task] = []
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if limit is not None and len(tasks) >= limit:
                    break
                if line.strip():
                    tasks.append(_task(line, number, name))
                if len(tasks) > MAX_TASKS:
                    raise UsageError(f"{name} has more than {MAX_TASKS} tasks", hint="--limit N")
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}") from error
    if not tasks:
        raise UsageError(f"{name} has no tasks", hint="localrun help eval")
    return tasks


def parse_task(fields: Mapping[str, Any], number: int) -> Task:
    """Return the task of an object in the short form.

    Raises:
        UsageError: it is none.
    """
    kinds = [kind for kind in TaskKind if kind.value in fields]
    if len(kinds) != 1:
        known = ", ".join(kind.value for kind in TaskKind)
        raise UsageError(f"a task has one of {known}", hint="localrun help eval")
    kind = kinds[0]
    target = fields[kind.value]
    choices: tuple[str, ...] = ()
    if kind is TaskKind.CHOICES:
        choices, target = _choices(target, fields.get("answer"))
    else:
        CHECKS[kind](target)
    tolerance = fields.get("tolerance", 0.0)
    if not _is_number(tolerance):
        raise UsageError("tolerance must be a number")
    return Task(
        id=str(fields.get("id", number)),
        kind=kind,
        messages=_messages(fields),
        target=target,
        choices=choices,
        tolerance=float(tolerance),
    )


def _task(line: bytes, number: int, name: str) -> Task:
    where = f"{name}, line {number}"
    if len(line) > MAX_LINE_BYTES:
        raise UsageError(f"{where}: it has more than {MAX_LINE_BYTES} bytes")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: it is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise UsageError(f"{where}: it is no JSON object")
    try:
        return parse_task(as_short_form(fields), number)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", hint=error.hint) from error


def _messages(fields: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    system = fields.get("system")
    begin = ({"role": "system", "content": system},) if isinstance(system, str) else ()
    messages, prompt = fields.get("messages"), fields.get("prompt")
    if isinstance(prompt, str) and prompt:
        return (*begin, {"role": "user", "content": prompt})
    if not isinstance(messages, list) or not messages:
        raise UsageError("a task needs prompt or messages")
    if not all(isinstance(each, dict) for each in messages):
        raise UsageError("messages must be objects")
    return (*begin, *messages)


def _choices(given: object, answer: object) -> tuple[tuple[str, ...], int]:
    if not isinstance(given, list) or not 1 < len(given) <= MAX_CHOICES:
        raise UsageError(f"choices must be a list of 2 to {MAX_CHOICES} texts")
    if not all(isinstance(each, str) and each for each in given):
        raise UsageError("choices must be texts")
    if isinstance(answer, str) and answer in given:
        return tuple(given), given.index(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(given):
        raise UsageError(
            f"answer must be one of the choices, or a number from 0 to {len(given) - 1}"
        )
    return tuple(given), answer


def _check_texts(target: object) -> None:
    texts = target if isinstance(target, list) else [target]
    if not texts or not all(isinstance(each, str) and each for each in texts):
        raise UsageError("exact and contains must be a text or a list of texts")


def _check_regex(target: object) -> None:
    import re

    if not isinstance(target, str):
        raise UsageError("regex must be a text")
    try:
        re.compile(target)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"regex is no pattern: {error}") from error


def _check_number(target: object) -> None:
    if not _is_number(target):
        raise UsageError("number must be a number")


def _check_schema(target: object) -> None:
    if not isinstance(target, dict):
        raise UsageError("schema must be an object")


def _check_question(target: object) -> None:
    if not isinstance(target, str) or not target:
        raise UsageError("judge must be the question that the judge is to answer")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


CHECKS = {
    TaskKind.EXACT: _check_texts,
    TaskKind.CONTAINS: _check_texts,
    TaskKind.REGEX: _check_regex,
    TaskKind.NUMBER: _check_number,
    TaskKind.SCHEMA: _check_schema,
    TaskKind.JUDGE: _check_question,
}
