"""Fields of the body of ``POST /v1/batches``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.batches.requests import ENDPOINTS
from localrun.server.batches.batch import BatchRecord
from localrun.server.batches.upload import LONGEST_S, SHORTEST_S
from localrun.server.parsing.json_schema import OBJECT, TEXT, one_of
from localrun.server.parsing.table import Field, Table, required_text

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

WINDOW_HOURS = {"h": 1, "d": 24}
LONGEST_HOURS = 30 * 24
MAX_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512  # of OpenAI's metadata
_WINDOW = re.compile(r"([1-9][0-9]{0,3})([hd])", re.ASCII)


def _hours(window: str) -> int:
    """Return the hours of a time such as ``24h``, 0 if it is none."""
    found = _WINDOW.fullmatch(window)
    return int(found[1]) * WINDOW_HOURS[found[2]] if found else 0


def _endpoint(fields: Fields, name: str) -> str:
    endpoint = fields.required_text(name)
    if endpoint not in ENDPOINTS:
        raise fields.wrong(name, f"must be one of {', '.join(ENDPOINTS)}")
    return endpoint


def _window(fields: Fields, name: str) -> str:
    window = fields.text(name) or "24h"
    if not 0 < _hours(window) <= LONGEST_HOURS:
        raise fields.wrong(name, "must be a time such as 24h or 7d, at most 30d")
    return window


def _metadata(fields: Fields, name: str) -> dict[str, str] | None:
    if fields.raw(name) is None:
        return None
    metadata = fields.inner(name).all()
    for key, value in metadata.items():
        if not isinstance(value, str) or len(value) > LONGEST_VALUE or len(key) > LONGEST_KEY:
            limits = f"names of {LONGEST_KEY} and texts of {LONGEST_VALUE} characters at most"
            raise fields.wrong(name, f"must have {limits}")
    if len(metadata) > MAX_PAIRS:
        raise fields.wrong(name, f"has more than {MAX_PAIRS} members")
    return metadata


def _expiry(fields: Fields, name: str) -> int | None:
    if fields.raw(name) is None:
        return None
    inner = fields.inner(name)
    if inner.text("anchor") not in {None, "created_at"}:
        raise inner.wrong("anchor", "must be created_at")
    return inner.integer("seconds", SHORTEST_S, LONGEST_S)


INPUT_FILE = required_text("input_file_id", longest=LONGEST_KEY)
ENDPOINT = Field("endpoint", _endpoint, one_of(*ENDPOINTS), is_required=True)
WINDOW = Field("completion_window", _window, TEXT)
METADATA = Field("metadata", _metadata, OBJECT)
OUTPUT_EXPIRY = Field("output_expires_after", _expiry, OBJECT)
BATCH = Table((INPUT_FILE, ENDPOINT, WINDOW, METADATA, OUTPUT_EXPIRY), component="BatchCreation")


def batch_of(values: Values, batch_id: str, *, owner: str, now: int) -> BatchRecord:
    """Return the new batch of a body that `BATCH` has read."""
    return BatchRecord(
        id=batch_id,
        endpoint=values[ENDPOINT],
        input_file_id=values[INPUT_FILE],
        completion_window=values[WINDOW],
        created_at=now,
        expires_at=now + 3600 * _hours(values[WINDOW]),
        output_expires_after_s=values[OUTPUT_EXPIRY],
        metadata=values[METADATA],
        owner=owner,
    )
