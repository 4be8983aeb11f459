"""Which adapters a request wants: files, looked at before llama.cpp gets them.

Runs in the reader's thread. A file that llama.cpp would take badly, up to the end of the
process, is refused here for the one request that names it.
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

MOST_KNOWN = 1000
HINT = "localrun show MODEL   lists its adapters"


class AdapterResolver:
    """Checks adapters against the model of these files."""

    def __init__(self, model_paths: Sequence[Path]) -> None:
        self._model_paths = model_paths
        self._known: set[AdapterFile] = set()  # files that were found good

    def checked(self, asked: Sequence[tuple[str, float]]) -> AdapterSet:
        """Return the set that a request means.

        Raises:
            NotFoundError: a file is gone.
            IntegrityError: one is damaged.
            UsageError: one was made for another model.
        """
        return adapter_set((self._checked(path), scale) for path, scale in asked)

    def _checked(self, path: str) -> AdapterFile:
        name = Path(path).name
        try:
            status = Path(path).stat()
            file = AdapterFile(path, status.st_size, status.st_mtime_ns)
            if file not in self._known:
                check_adapter(read_header(Path(path)), self._base)
        except OSError as error:
            raise NotFoundError(f"the adapter {name}: {error.strerror}", hint=HINT) from error
        except IntegrityError as error:
            raise IntegrityError(f"{name}: {error.message}", hint=HINT) from error
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from error
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(file)
        return file

    @cached_property
    def _base(self) -> Header:
        return read_headers(self._model_paths)
