"""Forms with a file: the fields and the file of a ``multipart/form-data`` body.

The body is bounded and counted while it arrives, like every body (``middleware/bodies.py``), and
stays in memory: a sound of a client is not written to disk.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartParser

from localrun.errors import UsageError
from localrun.server.middleware.bodies import MAX_BODY_BYTES
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.forms import FILE, parse_form

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.datastructures import FormData
    from starlette.requests import Request

MAX_FIELDS = 64
MAX_FIELD_BYTES = 64 * 1024
LONGEST_VALUE = 32  # of a number or a flag


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form as JSON values, and its file."""

    fields: Fields
    file: bytes


class _InMemory(MultiPartParser):
    spool_max_size = MAX_BODY_BYTES


async def read_form(request: Request, typed: Collection[str]) -> Form:
    """Return the form of a request; the fields of ``typed`` are numbers or flags.

    A field whose name ends in ``[]`` is a list.

    Raises:
        UsageError: the body is no form, or has no file.
        BodyTooLargeError: it is too large.
    """
    form = await parse_form(
        request,
        request.stream(),
        content="the sound",
        max_fields=MAX_FIELDS,
        max_field_bytes=MAX_FIELD_BYTES,
        parser_class=_InMemory,
    )
    try:
        return await _form(form, typed)
    finally:
        await form.close()


async def _form(form: FormData, typed: Collection[str]) -> Form:
    file = form.get(FILE)
    if not isinstance(file, UploadFile):
        raise UsageError(f"{FILE} is missing: the form has no file of that name", param=FILE)
    values: dict[str, Any] = {}
    for name, value in form.multi_items():
        if not isinstance(value, str):
            continue
        if name.endswith("[]"):
            values.setdefault(name, []).append(value)
        else:
            values[name] = _typed(value) if name in typed else value
    return Form(Fields(values), await file.read())


def _typed(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the number or the flag that a text says, or the text."""
    try:
        return json.loads(text.lower()) if len(text) <= LONGEST_VALUE else text
    except ValueError:
        return text
