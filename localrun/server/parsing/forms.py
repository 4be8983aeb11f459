"""Forms: bodies of type ``multipart/form-data`` with one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.multipart import parse_options_header
from starlette.formparsers import MultiPartException, MultiPartParser

from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.datastructures import FormData
    from starlette.requests import Request

FORM = "multipart/form-data"
UTF_8 = {b"utf-8", b"utf8"}
FILE = "file"


async def parse_form(
    request: Request,
    stream: AsyncGenerator[bytes, None],
    *,
    content: str,
    max_fields: int,
    max_field_bytes: int,
    parser_class: type[MultiPartParser] = MultiPartParser,
) -> FormData:
    """Return the form of a request, which the caller closes; ``stream`` is its body, bounded.

    ``content`` names the file, as in "a file" or "the sound".

    Raises:
        UsageError: the body is no form, or not in UTF-8.
        BodyTooLargeError: from ``stream``.
    """
    media_type, parameters = parse_options_header(request.headers.get("content-type"))
    if media_type.lower() != FORM.encode():
        raise UsageError(f"{content} is sent as {FORM}, in the field {FILE}", param=FILE)
    if parameters.get(b"charset", b"utf-8").lower() not in UTF_8:  # the parser would obey it
        raise UsageError("the form has a charset other than utf-8")
    parser = parser_class(
        request.headers,
        stream,
        max_files=1,
        max_fields=max_fields,
        max_part_size=max_field_bytes,
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise UsageError(f"the form cannot be read: {error.message}") from error
