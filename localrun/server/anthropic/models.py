"""Models of ``/v1/models`` for Anthropic's clients; OpenAI's clients use the same path."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from localrun.server.parsing.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localrun.runner.messages import JsonObject
    from localrun.services.stored_model import ModelSummary


LIMIT = re.compile(r"0*[1-9][0-9]{0,17}", re.ASCII)


def model_page(models: Iterable[ModelSummary], query: Mapping[str, str]) -> JsonObject:
    """Return a page of models: ``limit``, ``after_id`` and ``before_id`` of the query select it.

    Raises:
        UsageError: the limit is not a positive number.
    """
    rows = [model_info(model) for model in models]
    after, before = query.get("after_id"), query.get("before_id")
    if after:
        rows = list(dropwhile(lambda row: row["id"] != after, rows))[1:]
    if before:
        rows = list(takewhile(lambda row: row["id"] != before, rows))
    limit = _limit(query.get("limit"), len(rows))
    page = rows[-limit:] if before and not after else rows[:limit]
    return {
        "data": page,
        "has_more": len(page) < len(rows),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def model_info(model: ModelSummary) -> JsonObject:
    """Return the object of one model."""
    name = model.name.removesuffix(":latest")
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": model.modified.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "lifecycle": "active",
        "max_input_tokens": model.details.context_length,
        "max_tokens": model.details.context_length,
    }


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return max(default, 1)
    if not LIMIT.fullmatch(text):
        raise Fields({}).wrong("limit", "must be a whole number from 1")
    return int(text)
