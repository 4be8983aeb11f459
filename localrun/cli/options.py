"""Option types that several commands share."""

from __future__ import annotations

from typing import Annotated

from typer import Option

AsJson = Annotated[bool, Option("--json", help="Print the result as JSON.")]
