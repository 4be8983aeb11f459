"""The LoRA adapters of one loaded model: loaded at first use, put on when a step needs them.

llama.cpp has one set of adapters for a whole context, so a step computes sequences of one
set. A change makes it plan its graph anew (milliseconds), so `AdapterCache.wear` changes only what
is different, and only right before a step: a set that was put on and never computed with
could leave a graph behind that the next one takes for its own.

Used by the engine's thread only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_LOADED = 16  # those in use aside


@dataclass(frozen=True, slots=True, order=True)
class AdapterFile:
    """A file as it was when it was asked for; other bytes are another adapter."""

    path: str
    size_bytes: int
    modified_ns: int


AdapterSet = tuple[tuple[AdapterFile, float], ...]  # each with its scale; () is the plain model


class Adaptable(Protocol):
    """What is needed of a model."""

    def load_adapter(self, path: Path) -> object:
        """Return the handle of a loaded adapter."""

    def free_adapter(self, handle: object) -> None:
        """Give its memory back."""


@dataclass(slots=True)
class _Loaded:
    handle: object
    num_users: int = 0


def adapter_set(asked: Iterable[tuple[AdapterFile, float]]) -> AdapterSet:
    """Return equal sets for what has equal effect: the same file adds up, 0 is nothing."""
    scales: dict[AdapterFile, float] = {}
    for file, scale in asked:
        scales[file] = scales.get(file, 0.0) + scale
    return tuple(sorted((file, scale) for file, scale in scales.items() if scale))


@dataclass(slots=True)
class AdapterCache:
    """Loaded adapters, longest unused first, and the set that is on."""

    model: Adaptable
    put_on: Callable[[list[tuple[Any, float]]], None]
    _loaded: dict[AdapterFile, _Loaded] = field(default_factory=dict)
    _worn: AdapterSet = ()

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all loaded adapters."""
        return sum(file.size_bytes for file in self._loaded)

    def hold(self, adapters: AdapterSet) -> None:
        """Have a set loaded until `release`.

        Raises:
            LoadError: a file is gone, damaged, or made for another model; nothing is held then.
        """
        for file, _ in adapters:
            known = self._loaded.pop(file, None)
            self._loaded[file] = known or _Loaded(self.model.load_adapter(Path(file.path)))
        for file, _ in adapters:
            self._loaded[file].num_users += 1
        self._free(MOST_LOADED)

    def release(self, adapters: AdapterSet) -> None:
        """Take back one `hold`."""
        for file, _ in adapters:
            self._loaded[file].num_users -= 1
        self._free(MOST_LOADED)

    def wear(self, adapters: AdapterSet) -> None:
        """Compute with a held set from now on."""
        if adapters != self._worn:
            self.put_on([(self._loaded[file].handle, scale) for file, scale in adapters])
            self._worn = adapters

    def close(self) -> None:
        """Free all; the context must be gone, or compute no more."""
        for loaded in self._loaded.values():
            self.model.free_adapter(loaded.handle)
        self._loaded.clear()

    def _free(self, most: int) -> None:
        """Free what nobody uses, longest unused first, as long as there are too many."""
        idle = [file for file, loaded in self._loaded.items() if not loaded.num_users]
        for file in idle[: max(0, len(self._loaded) - most)]:
            if any(file == worn for worn, _ in self._worn):
                self.wear(())  # the context must not point to what is freed
            self.model.free_adapter(self._loaded.pop(file).handle)
