"""Models that were used with each tool, kept between commands.

    ~/.local/state/localrun/connect/models.json
    {"format_version": 1, "models": {"codex": "qwen3:8b"}}

A damaged file is as if there were none: it holds nothing but habits.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.folders import state_folder
from localrun.integrations.files import read_content, replace_content

if TYPE_CHECKING:
    from pathlib import Path

FORMAT_VERSION = 1
MOST_BYTES = 100_000


def connections_folder() -> Path:
    """Return the folder of undo records, own files of tools, and remembered models."""
    return state_folder() / "connect"


def remembered_model(tool: str) -> str | None:
    """Return the model that was last used with a tool."""
    return _read().get(tool)


def remember_model(tool: str, model: str) -> None:
    """Keep the model of a tool; does nothing if it cannot be written."""
    models = _read()
    if models.get(tool) == model:
        return
    record = {"format_version": FORMAT_VERSION, "models": {**models, tool: model}}
    data = json.dumps(record, indent=2, sort_keys=True).encode()
    with contextlib.suppress(LocalrunError):
        replace_content(read_content(_path(), MOST_BYTES), data)


def _read() -> dict[str, str]:
    try:
        record = json.loads(read_content(_path(), MOST_BYTES).data or b"{}")
        models = record["models"] if record.get("format_version") == FORMAT_VERSION else {}
        return {str(tool): str(model) for tool, model in models.items()}
    except (LocalrunError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _path() -> Path:
    return connections_folder() / "models.json"
