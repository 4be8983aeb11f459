"""Arguments of our own tools: JSON values of a model, checked one by one.

Each error names the tool's argument and what it must be, for the model to repeat the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.agent.toolbox import ToolError

if TYPE_CHECKING:
    from localrun.agent.toolbox import Arguments

LONGEST_TEXT = 1024 * 1024  # characters


def schema(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of arguments."""
    return {"type": "object", "properties": properties, "required": list(required)}


def text_of(about: str) -> dict[str, Any]:
    """Return the schema of a text."""
    return {"type": "string", "description": about}


def number_of(about: str) -> dict[str, Any]:
    """Return the schema of a whole number."""
    return {"type": "integer", "description": about}


def switch_of(about: str) -> dict[str, Any]:
    """Return the schema of a truth value."""
    return {"type": "boolean", "description": about}


def check_known(arguments: Arguments, known: dict[str, Any]) -> None:
    """Refuse arguments that the schema of a tool does not have.

    Raises:
        ToolError: an argument is unknown.
    """
    names = list(known["properties"])
    unknown = next((name for name in arguments if name not in names), None)
    if unknown is not None:
        raise ToolError(f"Unknown argument {unknown[:100]!r}. Arguments: {', '.join(names)}.")


def read_text(arguments: Arguments, name: str, default: str | None = None) -> str:
    """Return a text; ``default`` if it is missing.

    Raises:
        ToolError: it is missing and has no default, is no text, or too long.
    """
    value = arguments.get(name)
    if value is None:
        if default is None:
            raise ToolError(f"The argument {name!r} is missing.")
        return default
    if not isinstance(value, str):
        raise ToolError(f"The argument {name!r} must be a string.")
    if len(value) > LONGEST_TEXT:
        raise ToolError(f"The argument {name!r} has more than {LONGEST_TEXT} characters.")
    return value


def read_number(arguments: Arguments, name: str, default: int, *, least: int, most: int) -> int:
    """Return a whole number, moved into its range.

    Raises:
        ToolError: it is no whole number.
    """
    value = arguments.get(name)
    if value is None:
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and len(value) < len(str(most)) + 1 and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ToolError(f"The argument {name!r} must be a whole number.")
    return max(least, min(most, value))


def read_flag(arguments: Arguments, name: str) -> bool:
    """Return a truth value, False if it is missing.

    Raises:
        ToolError: it is none.
    """
    value = arguments.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ToolError(f"The argument {name!r} must be true or false.")
    return value
