"""Fields of the bodies and queries of ``/api/localrun/chats``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.conversations.images import MAX_IMAGES
from localrun.conversations.message import MAX_TEXT, ROLES, KeptMessage
from localrun.errors import UsageError
from localrun.server.parsing.base64_data import decoded
from localrun.server.parsing.json_parser import is_larger
from localrun.server.parsing.json_schema import OBJECT, listed, one_of
from localrun.server.parsing.limits import LONGEST_NAME, MAX_TOOL_CHARACTERS
from localrun.server.parsing.options import MODEL
from localrun.server.parsing.table import (
    Field,
    Table,
    integer,
    required_text,
    strings,
    text,
)

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

MAX_CALLS = 1024
MAX_ATTACHMENTS = 1000
MAX_SETTINGS = 64 * 1024  # characters
LONGEST_TITLE = 4096  # before it is cut
LONGEST_NUMBER = 19  # digits


def _settings(fields: Fields, name: str) -> dict[str, Any]:
    settings = fields.inner(name).all()
    if is_larger(settings, MAX_SETTINGS):
        raise fields.wrong(name, f"has more than {MAX_SETTINGS} characters")
    return settings


def _required_settings(fields: Fields, name: str) -> dict[str, Any]:
    if fields.raw(name) is None:
        raise fields.wrong(name, "is required")
    return _settings(fields, name)


def _role(fields: Fields, name: str) -> str:
    role = fields.required_text(name)
    if role not in ROLES:
        raise fields.wrong(name, f"must be one of {', '.join(ROLES)}")
    return role


def _tool_calls(fields: Fields, name: str) -> tuple[dict[str, Any], ...]:
    calls = fields.objects(name, most=MAX_CALLS)
    if is_larger(calls, MAX_TOOL_CHARACTERS):
        raise fields.wrong(name, f"has more than {MAX_TOOL_CHARACTERS} characters")
    return tuple(calls)


SETTINGS = Field("settings", _settings, OBJECT)
TITLE = text("title", longest=LONGEST_TITLE)
CREATE = Table((MODEL, SETTINGS, TITLE), component="ChatCreation")
NEW_TITLE = required_text("title", longest=LONGEST_TITLE)
RENAME = Table((NEW_TITLE,))
NEW_SETTINGS = Field("settings", _required_settings, OBJECT, is_required=True)
CHANGE_SETTINGS = Table((NEW_SETTINGS,))
HEAD = integer("message", 0)
SET_HEAD = Table((HEAD,))

ROLE = Field("role", _role, one_of(*ROLES), is_required=True)
CONTENT = text("content", longest=MAX_TEXT)
THINKING = text("thinking", longest=MAX_TEXT)
TOOL_CALLS = Field("tool_calls", _tool_calls, listed(OBJECT, maxItems=MAX_CALLS))
TOOL_NAME = text("tool_name", longest=LONGEST_NAME)
ATTACHMENTS = strings("attachments", most=MAX_ATTACHMENTS, longest=LONGEST_NAME)
IMAGES = strings("images", most=MAX_IMAGES)
WRITER = text("model", longest=LONGEST_NAME)
PARENT = integer("parent", 0)
APPEND = Table(
    (ROLE, CONTENT, THINKING, TOOL_CALLS, TOOL_NAME, ATTACHMENTS, IMAGES, WRITER, PARENT),
    component="ChatMessageCreation",
)


def message_of(values: Values) -> KeptMessage:
    """Return the message of a body that `APPEND` has read."""
    return KeptMessage(
        role=values[ROLE],
        content=values[CONTENT] or "",
        thinking=values[THINKING] or "",
        tool_calls=values[TOOL_CALLS],
        tool_name=values[TOOL_NAME] or "",
        attachments=values[ATTACHMENTS],
        model=values[WRITER] or "",
    )


def images_of(values: Values) -> tuple[bytes, ...]:
    """Return the images of such a body; it may take milliseconds.

    Raises:
        UsageError: one is not base64.
    """
    return tuple(decoded(text, f"images[{at}]") for at, text in enumerate(values[IMAGES]))


def whole_number(value: str, name: str, low: int, high: int) -> int:
    """Return the number of a query.

    Raises:
        UsageError: the value is no number, or not from ``low`` to ``high``.
    """
    is_number = value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER
    if not is_number or not low <= int(value) <= high:
        raise UsageError(f"{name} must be a number from {low} to {high}", param=name)
    return int(value)
