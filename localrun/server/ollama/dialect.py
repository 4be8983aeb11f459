"""Dialect of Ollama's API: errors as flat objects, streams as lines of JSON.

``error`` is a text with the hint, because Ollama's clients show that text alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.dialect import Dialect
from localrun.server.framing import NDJSON

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.dialect import ErrorReport


def error_body(report: ErrorReport) -> JsonObject:
    """Return the body of an error."""
    body = {"error": report.text, "code": report.code}
    return body | {"hint": report.error.hint} if report.error.hint else body


OLLAMA = Dialect(framing=NDJSON, error_body=error_body)
