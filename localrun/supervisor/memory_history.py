"""Which models needed more memory than was planned: remembered for the next load.

    needs.json              {"format_version": 1, "tightness": {"<model>@<machine>": 0.75}}
    needs.json.tmp-<pid>    being written

In the cache folder; a file that cannot be read is the same as none. Safe from any thread
and, because each write is a whole file, from several servers.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.hardware.device import Device
    from localrun.supervisor.model import RunnerModel

FORMAT_VERSION = 1
MOST_ENTRIES = 500
SMALLEST = 0.1
_log = logging.getLogger(__name__)


class MemoryHistory:
    """What is remembered; without a file it is forgotten with the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._tightness: dict[str, float] | None = None

    def tightness(self, model: RunnerModel, devices: Callable[[], Sequence[Device]]) -> float:
        """Return which share of the free memory a plan for this model may count on."""
        with self._lock:
            known = self._read()
            return known.get(_key(model, devices()), 1.0) if known else 1.0

    def remember(self, model: RunnerModel, devices: Sequence[Device], share: float) -> None:
        """Let the next plans for this model count on a share of the free memory."""
        with self._lock:
            known = self._read()
            known.pop(key := _key(model, devices), None)
            known[key] = share
            for oldest in list(known)[:-MOST_ENTRIES]:
                del known[oldest]
            self._write(known)

    def _read(self) -> dict[str, float]:
        if self._tightness is None:
            self._tightness = {}
            if self._path is not None and self._path.is_file():
                try:
                    self._tightness = _parsed(json.loads(self._path.read_bytes()))
                except (OSError, ValueError, RecursionError) as error:
                    _log.warning("%s is left out: %s", self._path, error)
        return self._tightness

    def _write(self, known: dict[str, float]) -> None:
        if self._path is None:
            return
        text = json.dumps({"format_version": FORMAT_VERSION, "tightness": known}, indent=1)
        fresh = temporary_beside(self._path)
        try:
            make_private_folder(self._path.parent)
            fresh.write_text(text)
            fresh.replace(self._path)
        except OSError as error:  # it is a cache: the next load tries the larger plan again
            _log.warning("%s cannot be written: %s", self._path, error.strerror)
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)


def _parsed(value: Any) -> dict[str, float]:  # noqa: ANN401 - any JSON value
    if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
        raise ValueError("not of a version that is known")
    entries = value.get("tightness")
    if not isinstance(entries, dict):
        raise ValueError("it has no entries")  # noqa: TRY004 - one kind for all that is wrong
    return {
        str(key): float(share)
        for key, share in entries.items()
        if isinstance(share, int | float) and SMALLEST <= share <= 1
    }


def _key(model: RunnerModel, devices: Sequence[Device]) -> str:
    """Return what stands for a model, its options and this machine."""
    files = ",".join(model.weights or (model.digest,))
    machine = ",".join(f"{device.name}:{device.total_bytes}" for device in devices)
    what = repr((model.num_ctx, model.num_gpu_layers, model.options, len(model.draft)))
    return hashlib.sha256(f"{files}\n{what}\n{machine}".encode()).hexdigest()[:32]
