"""Grading: whether an answer is what its task asks for.

Answers are untrusted text. A pattern of the user that takes too long on one is ended by an alarm of
the main thread, where the system has one; elsewhere less of the answer is searched.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from localrun.evaluation.tasks import TaskKind
from localrun.system.alarms import AlarmError, alarm, can_alarm

if TYPE_CHECKING:
    from localrun.evaluation.tasks import Task

REGEX_S = 2.0  # of one search
MAX_SEARCHED = 200_000  # characters of an answer
MAX_SEARCHED_WITHOUT_ALARM = 2_000
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,400})(?:\.\d{1,400})?(?:[eE][-+]?\d{1,3})?")
_THOUGHT = "</think>"


def grade(task: Task, answer: str) -> str | None:
    """Return why an answer is wrong, None if it is right.

    ``task`` is of a kind whose answer is a text: not `TaskKind.CHOICES` and not `TaskKind.JUDGE`.
    """
    text = answer.rpartition(_THOUGHT)[2].strip()
    if task.kind is TaskKind.EXACT:
        is_equal = any(_plain(text) == _plain(each) for each in _texts(task.target))
        return None if is_equal else "it is not the expected text"
    if task.kind is TaskKind.CONTAINS:
        lowered = text.casefold()
        missing = [each for each in _texts(task.target) if each.casefold() not in lowered]
        return f"it does not contain {missing[0]!r}" if missing else None
    if task.kind is TaskKind.REGEX:
        return _grade_regex(task.target, text)
    if task.kind is TaskKind.NUMBER:
        return _grade_number(task, text)
    return _grade_schema(task.target, text)


def last_number(text: str) -> float | None:
    """Return the last number of a text, with or without commas between thousands."""
    last = None
    for found in _NUMBER.finditer(text[-MAX_SEARCHED:]):
        last = found[0]
    return None if last is None else float(last.replace(",", ""))


def _grade_regex(pattern: str, text: str) -> str | None:
    searched = text[: MAX_SEARCHED if can_alarm() else MAX_SEARCHED_WITHOUT_ALARM]
    try:
        with alarm(REGEX_S):
            found = re.search(pattern, searched)
    except AlarmError:
        return f"the pattern takes more than {REGEX_S:g} s on it"
    return None if found else "it does not match the pattern"


def _grade_number(task: Task, text: str) -> str | None:
    number = last_number(text)
    if number is None:
        return "it has no number"
    is_near = abs(number - task.target) <= max(task.tolerance, 1e-9 * abs(task.target))
    return None if is_near else f"its last number is {number:g}, not {task.target:g}"


def _grade_schema(schema: dict[str, Any], text: str) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, ValidationError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    try:
        Draft202012Validator.check_schema(schema)
        # an empty registry: no reference is fetched
        validator = Draft202012Validator(schema, registry=Registry())
        with alarm(REGEX_S):  # a schema may have patterns
            validator.validate(value)
    except AlarmError:
        return f"the schema takes more than {REGEX_S:g} s on it"
    except ValidationError as error:
        return f"it does not fit the schema: {error.message[:200]}"
    except (SchemaError, Unresolvable, RecursionError) as error:
        return f"the schema cannot be used: {str(error)[:200]}"
    return None


def _texts(target: object) -> list[str]:
    return [str(each) for each in target] if isinstance(target, list) else [str(target)]


def _plain(text: str) -> str:
    """Return a text without case, blanks around it, and a full stop at its end."""
    return " ".join(text.casefold().split()).rstrip(".")
