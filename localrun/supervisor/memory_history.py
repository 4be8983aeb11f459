"""Memory history: models that needed more memory than planned, remembered for their next load.

    needs.json              {"format_version": 1, "tightness": {"<key>": 0.75}}
    needs.json.tmp-<pid>    while it is written

In the cache folder; a key is a hash of model, options and machine. A file that cannot be read
counts as empty. Each write replaces the whole file, so several servers can share it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from localrun.disk import temporary_beside
from localrun.private import make_private_folder
from localrun.system.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.hardware.device import Device
    from localrun.supervisor.model import RunnerModel

FORMAT_VERSION = 1
MAX_ENTRIES = 500
SMALLEST = 0.1
_log = logging.getLogger(__name__)


class MemoryHistory:
    """The tightness of plans by model and machine, in memory only if ``path`` is None.

    All methods are safe from any thread.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        # Guards the dict and writes of the file; held while the devices are asked for.
        self._lock = threading.Lock()
        self._tightness: dict[str, float] | None = None

    def tightness(self, model: RunnerModel, devices: Callable[[], Sequence[Device]]) -> float:
        """Return the share of the free memory that a plan for this model may use."""
        with self._lock:
            known = self._read()
            return known.get(_key(model, devices()), 1.0) if known else 1.0

    def remember(self, model: RunnerModel, devices: Sequence[Device], share: float) -> None:
        """Record the share of the free memory that the next plans for this model may use."""
        with self._lock:
            known = self._read()
            known.pop(key := _key(model, devices), None)
            known[key] = share
            for oldest in list(known)[:-MAX_ENTRIES]:
                del known[oldest]
            self._write(known)

    def _read(self) -> dict[str, float]:
        if self._tightness is None:
            self._tightness = {}
            if self._path is not None and self._path.is_file():
                try:
                    self._tightness = _parsed(json.loads(self._path.read_bytes()))
                except (OSError, ValueError, RecursionError) as error:
                    _log.warning("ignoring %s: %s", self._path, error)
        return self._tightness

    def _write(self, known: dict[str, float]) -> None:
        if self._path is None:
            return
        text = json.dumps({"format_version": FORMAT_VERSION, "tightness": known}, indent=1)
        fresh = temporary_beside(self._path)
        try:
            make_private_folder(self._path.parent)
            fresh.write_text(text)
            replace_file(fresh, self._path)
        except OSError as error:  # only a cache: the next load tries the larger plan again
            _log.warning("%s cannot be written: %s", self._path, error.strerror)
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)


def _parsed(value: Any) -> dict[str, float]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
        raise ValueError("its version is unknown")
    entries = value.get("tightness")
    if not isinstance(entries, dict):
        raise ValueError("it has no entries")  # noqa: TRY004 - one class for all faults
    return {
        str(key): float(share)
        for key, share in entries.items()
        if isinstance(share, int | float) and SMALLEST <= share <= 1
    }


def _key(model: RunnerModel, devices: Sequence[Device]) -> str:
    """Return the hash of a model, its options and this machine."""
    files = ",".join(model.weights or (model.digest,))
    machine = ",".join(f"{device.name}:{device.total_bytes}" for device in devices)
    options = repr((model.num_ctx, model.num_gpu_layers, model.options, len(model.draft)))
    return hashlib.sha256(f"{files}\n{options}\n{machine}".encode()).hexdigest()[:32]
