"""Setting of the batches.

LOCALRUN_BATCHES   folder of batches and their files; default ``~/.local/share/localrun/batches``
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.access import expanded_path
from localrun.folders import data_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOLDER = "batches"
VARIABLE = "LOCALRUN_BATCHES"


def batches_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of batches, which may not exist.

    Raises:
        UsageError: the variable names a user who does not exist.
    """
    named = environ.get(VARIABLE)
    return expanded_path(VARIABLE, named) if named else data_folder() / FOLDER


def has_batches(environ: Mapping[str, str]) -> bool:
    """Return whether there was ever a batch."""
    return batches_folder(environ).is_dir()
