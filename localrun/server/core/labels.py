"""Labels of models in ``/metrics``: names of stored models only, never texts of clients.

``guide``, ``guide:latest`` and the same model with adapters (clients choose their scales) have one
label. A name without a stored model has the label `UNKNOWN`.
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
MAX_NAMES = 1000  # kept at most: one model can be requested by many names


class ModelLabels:
    """Labels by requested name, collected while models are found; safe from any thread."""

    def __init__(self, find_model: Callable[[str], StoredModel]) -> None:
        self._find_model = find_model
        self._labels: dict[str, str] = {}  # by requested name
        self._lock = threading.Lock()  # guards `_labels`; no other lock is taken under it

    def find(self, name: str) -> StoredModel:
        """Return the model of a name, and keep its label.

        Raises:
            LocalrunError: as ``find_model``.
        """
        try:
            model = self._find_model(name)
        except LocalrunError:
            with self._lock:
                self._labels.pop(name, None)
            raise
        with self._lock:
            if name not in self._labels and len(self._labels) >= MAX_NAMES:
                del self._labels[next(iter(self._labels))]
            self._labels[name] = label_of(model.name)
        return model

    def of(self, name: str) -> str:
        """Return the label of a requested name."""
        return self._labels.get(name, UNKNOWN)


def label_of(name: str) -> str:
    """Return the label of a model's full name: the name without adapters."""
    return split_adapters(name)[0]
