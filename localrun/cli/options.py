"""Option types that several commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from localrun.errors import UsageError

AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]


def check_keep_alive(text: str | None) -> None:
    """Refuse what is no duration.

    Raises:
        UsageError: names the flag.
    """
    from localrun.settings import parse_duration

    try:
        parse_duration(text or "0")
    except UsageError as error:
        raise UsageError(f"--keep-alive is {error.message}", hint=error.hint) from error
