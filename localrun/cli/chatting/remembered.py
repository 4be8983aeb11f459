"""What the last chat used, for the menu and for the next chat: model, settings, time.

    chat.json in the state folder, mode 0600
    {"format_version": 1, "model": "guide:latest", "settings": {"sampling": {...}},
     "chat": "1a2b3c4d"}

Invariant: a missing, damaged or foreign file is nothing remembered; a failed write is not an error
of the chat.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.disk import temporary_beside
from localrun.folders import state_folder
from localrun.private import make_private_folder, open_private

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
LARGEST_FILE = 1 << 20  # bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastChat:
    """The last chat."""

    model: str
    settings: dict[str, Any] = field(default_factory=dict)
    chat_id: str | None = None


def last_chat_file() -> Path:
    """Return the path of the state file."""
    return state_folder() / "chat.json"


def read_last_chat(path: Path | None = None) -> LastChat | None:
    """Return what is remembered, None if nothing is."""
    try:
        with (path or last_chat_file()).open("rb") as file:
            return _from_json(json.loads(file.read(LARGEST_FILE)))
    except (OSError, ValueError, RecursionError) as error:
        _log.debug("no last chat: %s", error)
        return None


def remember_chat(last: LastChat, path: Path | None = None) -> None:
    """Remember a chat; does nothing if the file cannot be written."""
    path = path or last_chat_file()
    body = {
        "format_version": FORMAT_VERSION,
        "model": last.model,
        "settings": last.settings,
        "chat": last.chat_id,
    }
    temporary = temporary_beside(path)
    try:
        make_private_folder(path.parent)
        with open(temporary, "w", encoding="utf-8", opener=open_private) as file:
            json.dump(body, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:
        _log.debug("the last chat is not remembered: %s", error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _from_json(body: object) -> LastChat | None:
    if not isinstance(body, dict) or body.get("format_version") != FORMAT_VERSION:
        return None
    model, settings, chat_id = body.get("model"), body.get("settings"), body.get("chat")
    if not isinstance(model, str) or not model:
        return None
    return LastChat(
        model=model,
        settings=settings if isinstance(settings, dict) else {},
        chat_id=chat_id if isinstance(chat_id, str) else None,
    )
