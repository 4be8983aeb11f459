"""Models as Anthropic's clients list them, at the address that OpenAI's use too."""

from __future__ import annotations

import re
from itertools import dropwhile, takewhile
from typing import TYPE_CHECKING

from localrun.server.parsing.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from localrun.server.parsing.fields import JsonObject
    from localrun.services.stored_model import StoredModel


LIMIT = re.compile(r"0*[1-9][0-9]{0,17}", re.ASCII)


def model_page(found: Iterable[StoredModel], query: Mapping[str, str]) -> JsonObject:
    """Return the models that a query asks for: ``limit``, ``after_id``, ``before_id``.

    Raises:
        UsageError: the limit is none.
    """
    models = [model_info(model) for model in found]
    after, before = query.get("after_id"), query.get("before_id")
    if after:
        models = list(dropwhile(lambda model: model["id"] != after, models))[1:]
    if before:
        models = list(takewhile(lambda model: model["id"] != before, models))
    limit = _limit(query.get("limit"), len(models))
    page = models[-limit:] if before and not after else models[:limit]
    return {
        "data": page,
        "has_more": len(page) < len(models),
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def model_info(model: StoredModel) -> JsonObject:
    """Return one model."""
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


def _limit(text: str | None, otherwise: int) -> int:
    if text is None:
        return max(otherwise, 1)
    if not LIMIT.fullmatch(text):
        raise Fields({}).wrong("limit", "must be a whole number from 1")
    return int(text)
