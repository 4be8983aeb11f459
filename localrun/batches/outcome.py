"""Outcome of one request, and the line that a batch writes for it.

openai   {"id": "batch_req_…", "custom_id": "a", "response": {…}, "error": null}
others   {the fields of the record, "answer": "…"}    or "error": {"code": …, "message": …}
csv      the fields of the record, the answer or the wanted fields of it, the error
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.batches.input_file import InputFormat
from localrun.batches.requests import EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ANSWER, ERROR, LINE = "answer", "error", "line"
FIRST_ERROR_STATUS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a request: a response of the server, or an error without one."""

    status: int = 0
    body: bytes = b""
    request_id: str = ""
    code: str = ""  # of an error
    message: str = ""

    @property
    def is_ok(self) -> bool:
        """Return whether the request was answered."""
        return 0 < self.status < FIRST_ERROR_STATUS

    def error(self) -> dict[str, str]:
        """Return code and message of the error."""
        if self.code:
            return {"code": self.code, "message": self.message}
        error = _member(_parsed(self.body), "error")
        code, message = _member(error, "code"), _member(error, "message")
        shown = message if isinstance(message, str) else self.body[:500].decode(errors="replace")
        return {"code": str(code or self.status), "message": shown}

    def with_error(self, code: str, message: str) -> Outcome:
        """Return the outcome of an answer that is not what was asked for."""
        return Outcome(code=code, message=message)

    def answer(self, path: str) -> Any:  # noqa: ANN401 - any JSON value
        """Return the text of an answer, or the vector of an embedding."""
        body = _parsed(self.body)
        if path == EMBEDDINGS:
            return _member(_first(body, "data"), "embedding")
        choice = _first(body, "choices")
        text = _member(_member(choice, "message"), "content")
        return text if text is not None else _member(choice, "text")

    @property
    def is_cut_off(self) -> bool:
        """Return whether the answer ended at its limit of tokens."""
        reason = _member(_first(_parsed(self.body), "choices"), "finish_reason")
        return isinstance(reason, str) and reason == "length"

    def num_tokens(self) -> tuple[int, int]:
        """Return the numbers of prompt tokens and of generated tokens."""
        usage = _member(_parsed(self.body), "usage")
        pairs = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"))
        first, second = (
            next((value for name in names if isinstance(value := _member(usage, name), int)), 0)
            for names in pairs
        )
        return first, second


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeWriter:
    """How outcomes become lines."""

    form: InputFormat
    columns: tuple[str, ...] = ()  # of the input, if it is a table
    wanted: tuple[str, ...] = ()  # fields of answers that are JSON
    parses: bool = False  # answers are JSON
    as_csv: bool = False
    delimiter: str = ","

    @property
    def head(self) -> bytes:
        """Return what is written before all lines."""
        if not self.as_csv:
            return b""
        names = self.columns or (LINE,)
        return self._csv([*names, *(self.wanted or (ANSWER,)), ERROR])

    def line(
        self, number: int, custom_id: str, path: str, fields: Mapping[str, Any], outcome: Outcome
    ) -> bytes:
        """Return the line of the record with this number, with its line end."""
        if self.form is InputFormat.OPENAI and not self.as_csv:
            return _openai_line(number, custom_id, outcome)
        values = self._values(path, outcome)
        if self.as_csv:
            kept = [fields.get(name, "") for name in self.columns] if self.columns else [number]
            cells = [values.get(name, "") for name in self.wanted or (ANSWER,)]
            error = values.get(ERROR)
            return self._csv([*kept, *cells, error["message"] if error else ""])
        base = dict(fields) if fields else {LINE: number}
        return _json_line({**base, **values})

    def checked(self, path: str, outcome: Outcome) -> Outcome:
        """Return the outcome, or an error if the answer lacks what is wanted of it."""
        if not outcome.is_ok or not (self.parses or self.wanted):
            return outcome
        parsed = _parsed(str(outcome.answer(path)).encode())
        if parsed is None:
            if outcome.is_cut_off:
                ending = f"the answer was cut off after {outcome.num_tokens()[1]} tokens"
                return outcome.with_error("cut_off", f"{ending}: no whole JSON")
            return outcome.with_error("no_json", "the answer is not JSON")
        missing = [
            name for name in self.wanted if not isinstance(parsed, dict) or name not in parsed
        ]
        if missing:
            return outcome.with_error("no_field", f"the answer has no field {missing[0]!r}")
        return outcome

    def _values(self, path: str, outcome: Outcome) -> dict[str, Any]:
        if not outcome.is_ok:
            return {ERROR: outcome.error()}
        answer = outcome.answer(path)
        if not (self.parses or self.wanted):
            return {ANSWER: answer}
        parsed = _parsed(str(answer).encode())
        if self.wanted:
            return {name: _member(parsed, name) for name in self.wanted}
        return {ANSWER: parsed}

    def _csv(self, cells: Sequence[Any]) -> bytes:
        text = io.StringIO()
        row = [cell if isinstance(cell, str) else _compact(cell) for cell in cells]
        csv.writer(text, delimiter=self.delimiter, lineterminator="\n").writerow(row)
        return text.getvalue().encode(errors="replace")  # a lone surrogate is no character


def _json_line(fields: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which JSON can escape and UTF-8 cannot hold
        return json.dumps(fields).encode() + b"\n"


def _openai_line(number: int, custom_id: str, outcome: Outcome) -> bytes:
    head = json.dumps({"id": f"batch_req_{number}", "custom_id": custom_id})[:-1]
    if not outcome.status:
        error = json.dumps(outcome.error())
        return f'{head}, "response": null, "error": {error}}}\n'.encode()
    response = {"status_code": outcome.status, "request_id": outcome.request_id}
    begin = f'{head}, "response": {json.dumps(response)[:-1]}, "body": '
    is_line = b"\n" not in outcome.body and _parsed(outcome.body) is not None
    body = outcome.body if is_line else json.dumps(_parsed(outcome.body)).encode()
    return begin.encode() + body + b'}, "error": null}\n'


def _compact(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False)


def _parsed(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _member(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    return value.get(name) if isinstance(value, dict) else None


def _first(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    items = _member(value, name)
    return items[0] if isinstance(items, list) and items else None
