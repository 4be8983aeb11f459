"""Lines of a batch's input file: one request each.

    {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": …}}

All lines are checked before the first is answered; what a body may have is checked by its endpoint.
Only the places of lines are kept, never their contents. Lines with a common beginning of the prompt
are answered one after another, since they share its computation.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from localrun.batches.requests import LONGEST_ID, prompt_beginning
from localrun.errors import UsageError
from localrun.server.middleware.bodies import MAX_BODY_BYTES
from localrun.server.parsing.json_parser import parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.runner.messages import JsonObject

MAX_LINES = 100_000
MAX_LINE_BYTES = MAX_BODY_BYTES
MAX_ERRORS = 100  # reported of one file


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLine:
    """A request of a batch."""

    custom_id: str
    body: JsonObject


@dataclass(slots=True)
class CheckedInput:
    """The places of all lines in the order in which they are answered, or what is wrong."""

    offsets: array[int] = field(default_factory=lambda: array("Q"))  # bytes from the beginning
    model: str | None = None
    errors: list[JsonObject] = field(default_factory=list)


def check_input(path: Path, endpoint: str) -> CheckedInput:
    """Return the lines of an input file; reads all of it.

    Raises:
        OSError: it cannot be read.
    """
    checked, keys, known = CheckedInput(), list[str](), set[str]()
    with path.open("rb") as file:
        for number in range(1, MAX_LINES + 2):
            offset = file.tell()
            content = file.readline(MAX_LINE_BYTES + 1)
            if not content or len(checked.errors) >= MAX_ERRORS:
                break
            if not content.strip():
                continue
            try:
                line = _checked(content, endpoint, number, known)
            except UsageError as error:
                checked.errors.append(_report(error, number))
                if len(content) > MAX_LINE_BYTES or number > MAX_LINES:
                    break
            else:
                checked.offsets.append(offset)
                keys.append(_key(line.body))
                checked.model = checked.model or _model(line.body)
    if not checked.offsets and not checked.errors:
        checked.errors.append(_report(UsageError("the file has no requests"), 1))
    order = sorted(range(len(keys)), key=keys.__getitem__)
    checked.offsets = array("Q", [checked.offsets[index] for index in order])
    return checked


def read_line(file: BinaryIO, offset: int, endpoint: str) -> InputLine:
    """Return a line that has been checked.

    Raises:
        UsageError: the file has changed since.
        OSError: it cannot be read.
    """
    file.seek(offset)
    return _parsed(file.readline(MAX_LINE_BYTES + 1), endpoint)


def _checked(content: bytes, endpoint: str, number: int, known: set[str]) -> InputLine:
    if len(content) > MAX_LINE_BYTES:
        raise UsageError(f"the line has more than {MAX_LINE_BYTES} bytes")
    if number > MAX_LINES:
        raise UsageError(f"the file has more than {MAX_LINES} lines")
    line = _parsed(content, endpoint)
    if line.custom_id in known:
        raise UsageError(f"custom_id {line.custom_id[:80]!r} is used twice", param="custom_id")
    known.add(line.custom_id)
    return line


def _parsed(content: bytes, endpoint: str) -> InputLine:
    line = parse_json(content)
    if not isinstance(line, dict):
        raise UsageError("the line is no JSON object")
    custom_id, body = line.get("custom_id"), line.get("body")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_ID:
        raise UsageError(
            f"custom_id must be a text of 1 to {LONGEST_ID} characters", param="custom_id"
        )
    if line.get("method", "POST") != "POST":
        raise UsageError("method must be POST", param="method")
    if line.get("url") != endpoint:
        raise UsageError(f"url must be the endpoint of the batch, {endpoint}", param="url")
    if not isinstance(body, dict):
        raise UsageError("body must be an object", param="body")
    if body.get("stream"):
        raise UsageError("an answer in a batch cannot be streamed", param="stream")
    return InputLine(custom_id=custom_id, body=body)


def _report(error: UsageError, number: int) -> JsonObject:
    return {
        "code": "invalid_request",
        "line": number,
        "message": error.message,
        "param": error.param,
    }


def _model(body: JsonObject) -> str | None:
    model = body.get("model")
    return model if isinstance(model, str) else None


def _key(body: JsonObject) -> str:
    """Return what lines are ordered by: the model, and the beginning of the prompt."""
    return f"{str(body.get('model'))[:LONGEST_ID]}\n{prompt_beginning(body)}"
