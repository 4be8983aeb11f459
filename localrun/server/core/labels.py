"""The names of models in ``/metrics``: only what is here makes a label, whatever clients send.

``guide`` and ``guide:latest`` are one, and so is the same with adapters, whose scales are the
client's to choose. A name that no model was found for is `UNKNOWN`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError
from localrun.names.adapters import split_adapters

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.services.stored_model import StoredModel

UNKNOWN = "unknown"
MOST_NAMES = 1000  # that are remembered: a model may be asked for by many


class ModelLabels:
    """Finds models, and remembers what they are called; any thread may use it."""

    def __init__(self, find_model: Callable[[str], StoredModel]) -> None:
        self._find_model = find_model
        self._labels: dict[str, str] = {}  # by the name that was asked for
        self._lock = threading.Lock()

    def find(self, name: str) -> StoredModel:
        """Return what ``find_model`` does, or raise that."""
        try:
            model = self._find_model(name)
        except LocalrunError:
            with self._lock:
                self._labels.pop(name, None)
            raise
        with self._lock:
            if name not in self._labels and len(self._labels) >= MOST_NAMES:
                del self._labels[next(iter(self._labels))]
            self._labels[name] = label_of(model.name)
        return model

    def of(self, name: str) -> str:
        """Return the label of a name that was asked for."""
        return self._labels.get(name, UNKNOWN)


def label_of(name: str) -> str:
    """Return the label of a model's full name: itself without adapters."""
    return split_adapters(name)[0]
