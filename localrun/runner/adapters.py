"""Validation of the LoRA adapters of a request, before llama.cpp loads their files.

llama.cpp may abort the process on a damaged adapter; here such a file only fails the request
that names it. All methods run on the preparation threads.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.llama.lora_adapters import AdapterFile, AdapterSet, adapter_set
from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.gguf.adapter import check_adapter
from localrun.gguf.header import Header, read_header, read_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_VALID = 1000
HINT = "localrun show MODEL   lists its adapters"


class AdapterResolver:
    """Adapter files that were validated against the model of ``model_paths``."""

    def __init__(self, model_paths: Sequence[Path]) -> None:
        self._model_paths = model_paths
        self._valid: set[AdapterFile] = set()

    def checked(self, adapters: Sequence[tuple[str, float]]) -> AdapterSet:
        """Return the adapter set of (path, scale) pairs.

        Raises:
            NotFoundError: a file does not exist.
            IntegrityError: a file is damaged.
            UsageError: an adapter was made for another model.
        """
        return adapter_set((self._checked(path), scale) for path, scale in adapters)

    def _checked(self, path: str) -> AdapterFile:
        name = Path(path).name
        try:
            status = Path(path).stat()
            file = AdapterFile(path, status.st_size, status.st_mtime_ns)
            if file not in self._valid:
                check_adapter(read_header(Path(path)), self._base)
        except OSError as error:
            raise NotFoundError(f"the adapter {name}: {error.strerror}", hint=HINT) from error
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error.message}", hint=HINT) from error
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from error
        if len(self._valid) >= MAX_VALID:
            self._valid.clear()
        self._valid.add(file)
        return file

    @cached_property
    def _base(self) -> Header:
        return read_headers(self._model_paths)
