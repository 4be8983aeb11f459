"""Where the computed prompts of a model are saved, and under which name.

The name covers whatever may change a number of the cache beside the tokens, so an update
of llama.cpp, another adapter or another context begins anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.cache.exchange import exchange_of
from localrun.engine.llama.library import build
from localrun.runner.prompt_saver import PromptSaver, RestoredPrefix
from localrun.store.prompts import PromptFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.cache.prefix_cache import PrefixCache
    from localrun.engine.cache.state_cache import StateCache
    from localrun.engine.context import LlamaContext
    from localrun.engine.llama.model import Model
    from localrun.engine.scheduler import SchedulerLimits
    from localrun.runner.messages import Load

HEX_DIGITS = 64
HASHED_BYTES = 32_000_000  # takes 25 ms
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedPrompts:
    """The folder of all models' prompts, and how large it may be; None is the default."""

    root: Path
    budget_bytes: int | None = None

    def open(self, load: Load, limits: SchedulerLimits, model: Model) -> PromptFolder | None:
        """Return the folder of one model's prompts, None where it cannot be used."""
        devices = [device.description for device in model.devices]
        try:
            scope = prompt_scope(load, limits, devices)
            return PromptFolder(self.root, scope, self.budget_bytes)
        except OSError as error:
            _log.warning("prompts are not saved: %s", error)
            return None


def keeper_of(
    folder: PromptFolder, cache: PrefixCache | StateCache, context: LlamaContext, model: Model
) -> Callable[[Callable[[RestoredPrefix], None]], PromptSaver]:
    """Return what makes the keeper of a cache once it is known how it posts commands."""
    exchange = exchange_of(cache, context)
    return lambda post: PromptSaver(exchange, folder, post, num_vocab=model.num_vocab)


def prompt_scope(load: Load, limits: SchedulerLimits, devices: list[str]) -> str:
    """Return the name of all prompts that a model computes with these settings.

    Raises:
        OSError: a file of the model cannot be read.
    """
    parts = (
        [_identity(Path(path)) for path in load.model_paths],
        [(_identity(Path(path)), scale) for path, scale in load.adapters],
        build(),
        astuple(load.options),
        astuple(limits),
        load.num_gpu_layers,
        devices,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _identity(path: Path) -> tuple[object, ...]:
    """Return what changes when the content does: a blob's name, else hashes of its ends.

    Times beside the last change are no sign: a link that another program makes is one.
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
