"""Loading of llama.cpp's backends into this process, in the order in which they are preferred.

    the engine's own folder      llama_cpp/lib/libggml-vulkan.so    if llama.cpp loads its backends
    the folder of modules        ~/.local/share/localrun/backends   what `backend add` installed

No other folder is searched: llama.cpp by default also searches the working directory, and would
run any library there. A module that does not fit this build of llama.cpp, or that crashed in a
probe, is not loaded. The CPU's backend comes last, as in llama.cpp.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.backends.failures import RememberedFailures
from localrun.backends.folder import modules_folder, read_modules
from localrun.backends.manifest import package_name, why_not_engine, why_not_machine
from localrun.backends.state import ENGINE, INSTALLED, RETRY, BackendState
from localrun.engine.backends.cpu import VARIANT, load_cpu
from localrun.engine.backends.driver_reasons import explain, missing_driver
from localrun.engine.llama import ggml
from localrun.engine.llama.cuda_libraries import open_cuda_runtime
from localrun.hardware.choice import CPU, PREFERENCE
from localrun.hardware.unused import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog

FILE_NAMES = {"hip": "rocm"}  # backends whose file has another name
DEVICE_NAMES = {"mtl": "metal"}  # backends whose devices have another name
ORDER = [name.lower() for name in PREFERENCE]


@dataclass(frozen=True, slots=True)
class _Candidate:
    backend: str
    path: Path
    source: str
    refusal: str = ""  # why it must not be loaded
    fix: str = ""


def load_backends(
    native_log: NativeLog,
    wanted: Collection[str] | None = None,
    watch: Callable[[str, str | None], None] = lambda _backend, _library: None,
) -> list[BackendState]:
    """Load the backends, and return the states of those for GPUs.

    ``wanted`` restricts them: an empty collection is the CPU alone. ``watch`` is called with the
    name and the library of a backend before its code runs, and with None as library afterwards.

    Raises:
        BackendError: no backend was found, not even one for the CPU, or not the variant of it that
            `LOCALRUN_CPU_VARIANT` names.
    """
    is_linked = ggml.num_backends() > 0
    states = _linked() if is_linked else []
    for candidate in sorted(_candidates(is_linked=is_linked), key=_rank):
        if wanted is not None and candidate.backend in ORDER and candidate.backend not in wanted:
            continue
        if any(state.backend == candidate.backend and state.is_loaded for state in states):
            continue
        if candidate.refusal:
            states.append(_state(candidate, candidate.refusal, candidate.fix))
            continue
        watch(candidate.backend, str(candidate.path))
        states.append(_load(candidate, native_log))
        watch(candidate.backend, None)
    load_cpu(os.environ.get(VARIANT, ""))
    return states


def backends_of(devices: Collection[str] | None, text: str) -> frozenset[str] | None:
    """Return the backends that a load needs: those of ``devices``, llama.cpp's names.

    Without devices, ``text`` is the choice of the settings. None means all backends.
    """
    if devices is None:
        return frozenset() if text == CPU else None
    prefixes = (re.sub(r"\d+$", "", name).lower() for name in devices)
    return frozenset(DEVICE_NAMES.get(prefix, prefix) for prefix in prefixes)


def _linked() -> list[BackendState]:
    """Return the backends for GPUs that llama.cpp is linked with."""
    return [
        BackendState(backend=name, source=ENGINE, library="", is_loaded=True)
        for name in ggml.backend_names()
        if name in ORDER
    ]


def _candidates(*, is_linked: bool) -> Iterator[_Candidate]:
    failures, engine = RememberedFailures(os.environ), ggml.engine_build()
    folder = read_modules()
    for backend, problem in folder.broken:
        fix = f"localrun backend remove {backend}"
        yield _Candidate(backend, modules_folder(), INSTALLED, problem, fix)
    for module in folder.modules:
        manifest = module.manifest
        reason = why_not_machine(manifest) or why_not_engine(manifest, engine)
        if reason:
            name = package_name(manifest.backend, engine.llama_cpp_python)
            fix = f"localrun backend add {name}"
            yield _Candidate(manifest.backend, module.library, INSTALLED, reason, fix)
        else:
            yield _unless_failed(manifest.backend, module.library, INSTALLED, failures)
    if not is_linked:
        for backend, path in ggml.module_files():
            yield _unless_failed(FILE_NAMES.get(backend, backend), path, ENGINE, failures)


def _unless_failed(
    backend: str, path: Path, source: str, failures: RememberedFailures
) -> _Candidate:
    reason = failures.reason(backend, path)
    if reason is None:
        return _Candidate(backend, path, source)
    return _Candidate(backend, path, source, f"its last probe {reason}", RETRY)


def _rank(candidate: _Candidate) -> tuple[int, bool]:
    """Sort by preference; an installed module comes before the engine's own."""
    known = candidate.backend in ORDER
    place = ORDER.index(candidate.backend) if known else len(ORDER)
    return place, candidate.source == ENGINE


def _load(candidate: _Candidate, native_log: NativeLog) -> BackendState:
    before, without_driver = native_log.last_complaint(), missing_driver(candidate.backend)
    if candidate.backend == "cuda" and not without_driver:
        open_cuda_runtime(candidate.path)
    num_devices = ggml.load_module(candidate.path)
    complaint = native_log.last_complaint()
    said = complaint if complaint is not None and complaint is not before else ""
    if num_devices is None:
        reason = without_driver or _linker_reason(candidate.path) or _cause(said)
        return _without_use(candidate, reason)
    if num_devices == 0:
        return _without_use(candidate, said or "it finds no device", is_loaded=True)
    return _state(candidate, is_loaded=True)


def _cause(complaint: str) -> str:
    """Return the reason in llama.cpp's complaint about a library that could be opened."""
    if not complaint or complaint.endswith("returned NULL"):  # Vulkan without any driver
        return "it finds no driver that works"
    return complaint


def _linker_reason(path: Path) -> str:
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error)
    return ""


def _without_use(candidate: _Candidate, said: str, *, is_loaded: bool = False) -> BackendState:
    reason = explain(candidate.backend, said, Surroundings.of_this_process(os.environ))
    return _state(candidate, reason.text, reason.fix, is_loaded=is_loaded)


def _state(
    candidate: _Candidate, reason: str = "", fix: str = "", *, is_loaded: bool = False
) -> BackendState:
    return BackendState(
        backend=candidate.backend,
        source=candidate.source,
        library=str(candidate.path),
        is_loaded=is_loaded,
        reason=reason,
        fix=fix,
    )
