"""The names under which models are loaded, wanted or failing, and what becomes of them.

A name of the store may go or mean another model while requests for it run. The pool knows
nothing of the store: whoever looks there says what follows.

    rename    the store has the model under another name: nothing is loaded again
    drop      the name means another model: its requests are answered, then the memory is free
    remove    the name is gone: its requests end by an error, and the memory is free
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.names.adapters import is_same_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.errors import LocalrunError
    from localrun.supervisor.crashes import CrashBackoff
    from localrun.supervisor.model import RunnerModel
    from localrun.supervisor.slot import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedName:
    """A name that holds a runner; ``model`` is what models share that share the runner."""

    name: str
    digest: str
    model: RunnerModel
    slot: Slot | None  # None if it failed too often to be loaded


class PoolNames:
    """The names of one pool; all methods are safe from any thread."""

    def __init__(self, slots: Callable[[], list[Slot]], crashes: CrashBackoff) -> None:
        self._slots = slots
        self._crashes = crashes

    def loaded(self) -> list[LoadedName]:
        """Return the names that hold a runner, and those that failed too often."""
        held = [
            LoadedName(name=name, digest=holder.digest, model=slot.state.key, slot=slot)
            for slot in self._slots()
            for name, holder in slot.state.holders.by_name.items()
        ]
        failing = [
            LoadedName(name=one.name, digest="", model=one.model, slot=None)
            for one in self._crashes.failing()
        ]
        return held + failing

    def matching(self, name: str) -> list[str]:
        """Return how a name is spelled by the requests that hold or wait for a runner."""
        known = {known for slot in self._slots() for known in slot.state.names()}
        return [one for one in sorted(known) if is_same_name(one, name)]

    def all(self) -> list[str]:
        """Return all names that hold or wait for a runner, or failed."""
        failing = {one.name for one in self._crashes.failing()}
        return sorted(failing.union(*(slot.state.names() for slot in self._slots())))

    def rename(self, source: str, target: str) -> None:
        """Put a new name in the place of another, in all that is loaded or waits."""
        self._crashes.rename(source, target)
        for slot in self._slots():
            slot.rename(source, target)

    def correct(self, loaded: LoadedName, name: str, digest: str | None) -> None:
        """Let a loaded name be spelled as the store does, with the digest that it has there."""
        if loaded.slot is not None:
            loaded.slot.rename(loaded.name, name, digest)

    def drop(self, loaded: LoadedName) -> bool:
        """Let a name go that means another model now; return whether it was pinned."""
        if loaded.slot is None:
            self._crashes.forget(loaded.model)
            return False
        return loaded.slot.drop(loaded.name, loaded.digest)

    def remove(self, name: str, error: LocalrunError) -> None:
        """End the requests for a name by an error; blocks until its memory is free."""
        slots = [slot for slot in self._slots() if name in slot.state.names()]
        for slot in slots:
            slot.remove(name, error)
        for slot in slots:
            slot.wait_until_removed(name)
