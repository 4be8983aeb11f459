"""Items of the input of ``/v1/responses``, and the stored items that it refers to.

The input continues an earlier response, or refers to items of one. Both come from the store.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from localrun.errors import NotFoundError
from localrun.server.middleware.bodies import MAX_BODY_BYTES
from localrun.server.openai.responses.items import kind_of
from localrun.server.parsing.fields import Fields, shown
from localrun.server.parsing.json_schema import OBJECT, TEXT, either, listed
from localrun.server.parsing.limits import MAX_MESSAGES
from localrun.server.parsing.table import Field, text

if TYPE_CHECKING:
    from localrun.server.openai.responses.store import KeptItem, ResponseStore
    from localrun.server.parsing.table import Values


def read_history(values: Values, store: ResponseStore) -> list[Fields]:
    """Return the items of the earlier responses that this one continues."""
    previous = values[PREVIOUS_RESPONSE_ID]
    try:
        history = store.history(previous) if previous else []
    except NotFoundError as error:
        raise values.fields.wrong(
            "previous_response_id", f"cannot be continued: {error}"
        ) from error
    return [Fields(item, "previous_response_id: ") for item in history]


def resolve_references(items: list[Fields], store: ResponseStore) -> list[Fields]:
    """Return the items, with references replaced by the items of the store."""
    resolved, num_bytes = [], 0
    for item in items:
        if kind_of(item) != "item_reference":
            resolved.append(item)
            continue
        referred = _referred(item, store)
        num_bytes += referred.num_bytes
        if num_bytes > MAX_BODY_BYTES:
            raise item.wrong("id", "makes the request larger than a body may be")
        resolved.append(Fields(json.loads(referred.text), item.path("")))
    return resolved


def _input(fields: Fields, name: str) -> list[Fields]:
    """Return the items of the input; a text is one user message."""
    value = fields.raw(name)
    if isinstance(value, str):
        return [Fields({"role": "user", "content": value}, f"{name}.")]
    if value is not None and not isinstance(value, list):
        raise fields.wrong(name, "must be a string or a list of items")
    return [
        Fields(item, f"{name}[{place}].")
        for place, item in enumerate(fields.objects(name, most=MAX_MESSAGES))
    ]


def _referred(item: Fields, store: ResponseStore) -> KeptItem:
    number = item.required_text("id")
    kept = store.item(number)
    if kept is None:
        raise item.wrong("id", f"names no stored item: {shown(number)}")
    return kept


INPUT = Field("input", _input, either(TEXT, listed(OBJECT)))
PREVIOUS_RESPONSE_ID = text("previous_response_id")
