"""Offer to pull a model that is not here: its size, its quantization, and whether it fits."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from localrun.cli.fit import fit_note, memory_bytes
from localrun.cli.output import confirms, human_bytes, is_terminal
from localrun.errors import ModelNotFoundError

if TYPE_CHECKING:
    from localrun.services.pulling.plan import PullPlan

UNKNOWN_SIZE = "of unknown size"


def can_ask() -> bool:
    """Return whether there is somebody to ask."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


def check_accepted(name: str, plan: PullPlan) -> None:
    """Ask whether to pull a model; return if the user wants it.

    Raises:
        ModelNotFoundError: the user declines; nothing was written.
    """
    if not confirms(f"{name} is not on this machine: {describe(plan)}. Pull it?", default=True):
        raise ModelNotFoundError(
            f"{name} is not on this machine, and was not pulled",
            hint=f"localrun pull {name}   or localrun list",
        )


def describe(plan: PullPlan) -> str:
    """Return size, quantization and fit of a model that would be pulled."""
    from localrun.registry.quantization import quantization_of

    quantizations = (quantization_of(planned.file.name) for planned in plan.files)
    size = plan.size_bytes
    parts = [
        human_bytes(size) if size is not None else UNKNOWN_SIZE,
        next(filter(None, quantizations), ""),
        fit_note(size, memory_bytes()) if size is not None else "",
    ]
    return ", ".join(part for part in parts if part)
