"""LoRA adapters of one loaded model: loaded on first use, applied to the context before a step.

llama.cpp has one adapter set per context, so a step computes sequences with equal sets. Changing
the set makes llama.cpp plan its graph anew (milliseconds), so `AdapterCache.apply` changes it only
if it differs, and only right before a step: a set that was applied but never computed with could
leave a graph behind that the next set reuses by mistake.

All methods run on the engine thread; `adapter_set` is a pure function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LOADED = 16  # adapters in use may exceed it


@dataclass(frozen=True, slots=True, order=True)
class AdapterFile:
    """Identity of an adapter file at the time of a request; changed bytes are another adapter."""

    path: str
    size_bytes: int
    modified_ns: int


AdapterSet = tuple[tuple[AdapterFile, float], ...]  # each with its scale; () = the base model


class AdapterLoader(Protocol):
    """A model that loads adapters."""

    def load_adapter(self, path: Path) -> object:
        """Return the handle of a loaded adapter."""

    def free_adapter(self, handle: object) -> None:
        """Free an adapter."""


@dataclass(slots=True)
class _Loaded:
    handle: object
    num_users: int = 0


def adapter_set(adapters: Iterable[tuple[AdapterFile, float]]) -> AdapterSet:
    """Return the canonical set: scales of the same file are added, scale 0 is removed."""
    scales: dict[AdapterFile, float] = {}
    for file, scale in adapters:
        scales[file] = scales.get(file, 0.0) + scale
    return tuple(sorted((file, scale) for file, scale in scales.items() if scale))


@dataclass(slots=True)
class AdapterCache:
    """Loaded adapters, least recently used first, and the set applied to the context."""

    model: AdapterLoader
    set_adapters: Callable[[list[tuple[Any, float]]], None]
    _loaded: dict[AdapterFile, _Loaded] = field(default_factory=dict)
    _applied: AdapterSet = ()

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all loaded adapters."""
        return sum(file.size_bytes for file in self._loaded)

    def acquire(self, adapters: AdapterSet) -> None:
        """Load a set and keep it loaded until `release`.

        Raises:
            LoadError: a file is missing, damaged, or made for another model; nothing is acquired.
        """
        for file, _ in adapters:
            loaded = self._loaded.pop(file, None)
            self._loaded[file] = loaded or _Loaded(self.model.load_adapter(Path(file.path)))
        for file, _ in adapters:
            self._loaded[file].num_users += 1
        self._evict()

    def release(self, adapters: AdapterSet) -> None:
        """Undo one `acquire`."""
        for file, _ in adapters:
            self._loaded[file].num_users -= 1
        self._evict()

    def apply(self, adapters: AdapterSet) -> None:
        """Let the context compute with an acquired set."""
        if adapters != self._applied:
            self.set_adapters([(self._loaded[file].handle, scale) for file, scale in adapters])
            self._applied = adapters

    def close(self) -> None:
        """Free all adapters; the context must be freed, or compute no more."""
        for loaded in self._loaded.values():
            self.model.free_adapter(loaded.handle)
        self._loaded.clear()

    def _evict(self) -> None:
        """Free unused adapters above `MAX_LOADED`, least recently used first."""
        unused = [file for file, loaded in self._loaded.items() if not loaded.num_users]
        for file in unused[: max(0, len(self._loaded) - MAX_LOADED)]:
            if any(file == applied for applied, _ in self._applied):
                self.apply(())  # the context must not point to a freed adapter
            self.model.free_adapter(self._loaded.pop(file).handle)
