"""GGUF headers as a target: guide.gguf with a mutated header, read as any model is.

A mutant is read, or refused with an IntegrityError.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fuzzing.mutate import Mutator
from localrun.errors import IntegrityError
from localrun.gguf.header import read_header
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from fuzzing.mutate import Mutant

MEMORY_FOLDER = "/dev/shm"  # noqa: S108 - Linux's; a disk is four times slower
REASON = re.compile(r"at byte \d+: (.*)")


class Headers:
    """Mutants of guide's header, in one file that is written again and again."""

    slowest_s = 5.0
    max_memory_mb = 200

    def __init__(self) -> None:
        folder = MEMORY_FOLDER if Path(MEMORY_FOLDER).is_dir() else None
        self._mutator = Mutator(embedded_models()["guide:latest"])
        self._file = tempfile.NamedTemporaryFile(suffix=".gguf", dir=folder)  # noqa: SIM115 - kept

    def attempt(self, number: int) -> str:
        """Read a mutant; return what came of it."""
        self._write(self._mutator.mutant(number))
        try:
            read_header(Path(self._file.name))
        except IntegrityError as error:
            match = REASON.search(error.message)
            return match[1] if match else error.message
        return "read whole"

    def _write(self, mutant: Mutant) -> None:
        descriptor = self._file.fileno()
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, mutant.data, 0)
        os.truncate(descriptor, mutant.size_bytes)
