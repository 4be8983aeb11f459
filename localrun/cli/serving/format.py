"""Read what ``--format`` says: "json", a file with a JSON Schema, or the schema itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localrun.cli.prompt import as_text
from localrun.errors import UsageError

HINT = '--format json, --format schema.json, or --format \'{"type": "object"}\''


def read_format(text: str | None) -> str | dict[str, Any] | None:
    """Return "json" or the schema; None where there is nothing.

    Raises:
        UsageError: no such file, or what is in it is no JSON object.
    """
    if not text or text == "json":
        return text or None
    is_inline = text.lstrip().startswith("{")
    name = "--format" if is_inline else f"--format {text}"
    try:
        schema = json.loads(
            as_text(text, name) if is_inline else Path(text).read_text(encoding="utf-8")
        )
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}", hint=HINT) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}", hint=HINT) from error
    if not isinstance(schema, dict):
        raise UsageError(f"{name} is no JSON Schema: it must be an object", hint=HINT)
    return schema
