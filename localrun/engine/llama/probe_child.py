"""Probe child process: reports the devices of llama.cpp and of the GPU drivers.

Writes the lines of `hardware/report.py` to stdout. Each line is flushed before the next driver
is asked, so that a driver that crashes or hangs loses no earlier line. The line before the code of
a backend runs names it, and so does the line before a driver is asked for its cards.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.backends.drivers import LIBRARIES
from localrun.backends.failures import RememberedFailures
from localrun.engine.llama.cuda_libraries import explained, prepare
from localrun.errors import LocalrunError
from localrun.hardware.cards import finders
from localrun.hardware.report import write_line
from localrun.program import private_stdout

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from localrun.hardware.report import Card


def run_probe() -> int:
    """Write the report to stdout, and return the exit code."""
    out = private_stdout()
    _report_llama_cpp(out)
    failures = RememberedFailures(os.environ)
    for find in finders():
        name = find.__name__
        if name not in LIBRARIES:  # it reads files of the kernel
            _report_cards(find, out)
        elif failures.reason(name, Path(name)) is None:  # it has no library of its own
            _write(out, loading=[name, name])
            _report_cards(find, out)
            _write(out, loading=None)
    return 0


def _report_llama_cpp(out: TextIO) -> None:
    try:
        prepare()
        # fails if libraries of a GPU are missing
        from localrun.engine.backends.cpu import loaded_variant
        from localrun.engine.backends.cuda_cards import CUDA, cards_without_code, with_reason
        from localrun.engine.backends.loading import load_backends
        from localrun.engine.llama import ggml
        from localrun.engine.llama.library import NativeLog, initialize

        native_log = NativeLog()
        native_log.attach()
        _write(out, engine=ggml.engine_build())

        def watch(backend: str, library: str | None) -> None:
            _write(out, loading=None if library is None else [backend, library])

        states = load_backends(native_log, watch=watch)
        initialize()
        devices = ggml.devices()
        refused = cards_without_code(devices)
        devices = [device for device in devices if device.name not in refused]
        if refused and not any(device.backend == CUDA for device in devices):
            states = with_reason(states, next(iter(refused.values())))
        _write(out, backends=states, devices=devices, cpu_variant=loaded_variant())
        loaded = {state.backend for state in states if state.is_loaded}
        absent = [state for state in states if state.backend not in loaded]
        _write(out, unloaded={state.backend: state.reason for state in absent})
    except LocalrunError as error:
        _write(out, failed=error.message)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        _write(out, failed=explained(error, os.environ).message)


def _report_cards(find: Callable[[], list[Card]], out: TextIO) -> None:
    try:
        cards = find()
    except Exception as error:  # noqa: BLE001 - a driver may fail in any way
        _write(out, skipped=f"{find.__name__}: {error!r}")
    else:
        _write(out, cards=cards)


def _write(out: TextIO, **parts: object) -> None:
    out.write(write_line(**parts))
    out.flush()
