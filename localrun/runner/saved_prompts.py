"""Folder of one model's saved prompts: root, size limit and scope.

The scope is a hash of everything except the tokens that may change a value of the KV cache
(weights, projector, adapters, options, devices, build of llama.cpp), so that an update of llama.cpp
or another context never restores wrong values.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.llama.library import build
from localrun.store.prompts import PromptFolder

if TYPE_CHECKING:
    from concurrent.futures import Future

    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.runner.messages import Load

FileIdentities = tuple[list[tuple[object, ...]], list[tuple[tuple[object, ...], float]]]
FORMAT = 2  # of the files: older ones stay unread until they are evicted

HEX_DIGITS = 64
HASHED_BYTES = 32_000_000  # takes 25 ms
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPrompts:
    """Root folder of the saved prompts of all models, and its size limit; None is the default."""

    root: Path
    budget_bytes: int | None = None

    def open(
        self, load: Load, files: Future[FileIdentities], limits: SchedulerLimits, model: Model
    ) -> PromptFolder | None:
        """Return the folder of one model's prompts, or None if it cannot be used.

        ``files`` are the `file_identities` of the load, which take a while for files outside of
        the store.
        """
        devices = [device.description for device in model.devices]
        try:
            scope = prompt_scope(load, files.result(), limits, devices)
            return PromptFolder(self.root, scope, self.budget_bytes)
        except OSError as error:
            _log.warning("prompts are not saved: %s", error)
            return None


def file_identities(load: Load) -> FileIdentities:
    """Return values that change with the content of the weights and the adapters of a load.

    The projector, which encodes images and sounds, is one of the weights.

    Raises:
        OSError: a file of the model cannot be read.
    """
    return (
        [_identity(Path(path)) for path in (*load.model_paths, *_projector(load))],
        [(_identity(Path(path)), scale) for path, scale in load.adapters],
    )


def prompt_scope(
    load: Load, files: FileIdentities, limits: SchedulerLimits, devices: list[str]
) -> str:
    """Return the name of all prompts that a model computes with these settings."""
    parts = (
        FORMAT,
        *files,
        build(),
        astuple(load.options),
        astuple(limits),
        load.num_gpu_layers,
        devices,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _projector(load: Load) -> tuple[str, ...]:
    return (load.projector_path,) if load.projector_path else ()


def _identity(path: Path) -> tuple[object, ...]:
    """Return values that change with the content: a blob's name, or size, time and hashes.

    Only the time of modification counts: the inode's change time differs as soon as another
    program makes a hard link.
    """
    real = path.resolve()
    if len(real.name) == HEX_DIGITS and real.parent.name == "sha256":
        return (real.name,)
    status = real.stat()
    with real.open("rb") as file:
        hashed = hashlib.sha256(file.read(HASHED_BYTES))
        if status.st_size <= HASHED_BYTES:
            return (hashed.hexdigest(),)
        file.seek(-HASHED_BYTES // 2, os.SEEK_END)
        hashed.update(file.read())
    return (status.st_size, status.st_mtime_ns, hashed.hexdigest())
