"""ggml's backend registry and devices, by functions that llama-cpp-python does not declare.

The functions are resolved through libllama's own handle, which also finds the symbols of the
ggml libraries that it is linked with. libggml.so must not be opened by its path: wheels contain
copies instead of symbolic links, so that would map a second ggml with an empty registry.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as api

from localrun.engine.llama.cuda_libraries import open_cuda_runtime
from localrun.errors import BackendError
from localrun.hardware.device import Device, DeviceKind

KINDS = (DeviceKind.CPU, DeviceKind.GPU, DeviceKind.IGPU, DeviceKind.ACCEL)  # ggml's numbers
BACKENDS = {"MTL": "Metal"}  # common names of backends that ggml names otherwise
REGISTERED = {"hip": "rocm", "metal": "mtl"}  # backends whose file has another name
HANDLE, TEXT, SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
NO_MODULES = frozenset({"libggml", "libggml-base", "ggml", "ggml-base"})
SUFFIXES = {"win32": ".dll", "darwin": ".dylib"}


class _Props(ctypes.Structure):
    """``struct ggml_backend_dev_props``, with space for capabilities of later versions."""

    _fields_ = (
        ("name", TEXT),
        ("description", TEXT),
        ("memory_free", SIZE),
        ("memory_total", SIZE),
        ("type", ctypes.c_int),
        ("device_id", TEXT),
        ("capabilities", ctypes.c_char * 64),
    )


def load_backends() -> None:
    """Load the backends of a build with dynamic backends (GGML_BACKEND_DL); no-op for others.

    Only the package's own folder is searched: llama.cpp by default also searches the working
    directory, and would run any library there.

    Raises:
        BackendError: no backend was found, not even one for the CPU.
    """
    ggml = ggml_functions()
    if ggml.ggml_backend_reg_count():
        return
    folder = library_folder()
    open_cuda_runtime(folder)
    ggml.ggml_backend_load_all_from_path(os.fsencode(folder))
    if not ggml.ggml_backend_reg_count():
        raise BackendError(
            f"llama.cpp has no backend in {folder}: the package llama-cpp-python is damaged",
            hint=f"{sys.executable} -m pip install --force-reinstall --no-deps llama-cpp-python",
        )


def devices() -> list[Device]:
    """Return all devices of this build, in llama.cpp's order."""
    ggml = ggml_functions()
    known: list[Device] = []
    for position in range(ggml.ggml_backend_dev_count()):
        handle, props = ggml.ggml_backend_dev_get(position), _Props()
        ggml.ggml_backend_dev_get_props(handle, ctypes.byref(props))
        if props.type >= len(KINDS):  # a meta device, made of several devices
            continue
        name = _text(ggml.ggml_backend_reg_name(ggml.ggml_backend_dev_backend_reg(handle)))
        backend = BACKENDS.get(name, name)
        known.append(
            Device(
                backend=backend,
                index=sum(device.backend == backend for device in known),
                name=_text(props.name),
                description=_text(props.description).strip(),
                kind=KINDS[props.type],
                total_bytes=props.memory_total,
                free_bytes=props.memory_free,
                unit_id=_text(props.device_id).lower() or None,
            )
        )
    return known


def handles(names: tuple[str, ...]) -> Any:  # noqa: ANN401 - a ctypes array
    """Return the NULL-terminated array of the named devices; it must live until the load ends.

    Raises:
        BackendError: a device no longer exists.
    """
    devices = [ggml_functions().ggml_backend_dev_by_name(name.encode()) for name in names]
    for name, handle in zip(names, devices, strict=True):
        if not handle:
            raise BackendError(
                f"llama.cpp has no device {name}: the devices have changed",
                hint="localrun stop --server",
            )
    return (HANDLE * (len(devices) + 1))(*devices, None)


def address(array: Any) -> ctypes.c_void_p:  # noqa: ANN401 - a ctypes array
    """Return the pointer to an array, for a field of a structure."""
    return ctypes.cast(array, HANDLE)


def library_folder() -> Path:
    """Return the folder of llama.cpp's libraries and backends."""
    return Path(api._base_path).absolute()  # noqa: SLF001 - it has no public name


def unloaded_backends() -> dict[str, str]:
    """Return the backends whose files exist but did not load, with the linker's reason."""
    loaded = {_text(name).lower() for name in _backend_names()}
    reasons = {}
    for file in sorted(library_folder().glob(f"*ggml-*{SUFFIXES.get(sys.platform, '.so')}")):
        backend = file.stem.removeprefix("lib").removeprefix("ggml-")
        if file.stem in NO_MODULES or backend.startswith("cpu"):
            continue
        if REGISTERED.get(backend, backend) in loaded:
            continue
        try:
            ctypes.CDLL(str(file))
        except OSError as error:
            reasons[backend] = str(error)
    return reasons


def _backend_names() -> list[bytes]:
    ggml = ggml_functions()
    return [
        ggml.ggml_backend_reg_name(ggml.ggml_backend_reg_get(position))
        for position in range(ggml.ggml_backend_reg_count())
    ]


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


@cache
def ggml_functions() -> Any:  # noqa: ANN401 - a ctypes library
    """Return the functions of ggml that this package calls, with their types declared."""
    library = _Libraries()
    for name, result, arguments in (
        ("ggml_backend_load_all_from_path", None, [TEXT]),
        ("ggml_backend_reg_count", SIZE, []),
        ("ggml_backend_reg_get", HANDLE, [SIZE]),
        ("ggml_backend_reg_name", TEXT, [HANDLE]),
        ("ggml_backend_dev_count", SIZE, []),
        ("ggml_backend_dev_get", HANDLE, [SIZE]),
        ("ggml_backend_dev_by_name", HANDLE, [TEXT]),
        ("ggml_backend_dev_backend_reg", HANDLE, [HANDLE]),
        ("ggml_backend_dev_get_props", None, [HANDLE, ctypes.POINTER(_Props)]),
        ("ggml_backend_cpu_buffer_type", HANDLE, []),
        ("ggml_backend_buft_name", TEXT, [HANDLE]),
        ("ggml_backend_buft_get_alignment", SIZE, [HANDLE]),
        ("ggml_backend_buft_alloc_buffer", HANDLE, [HANDLE, SIZE]),
        ("ggml_backend_buffer_get_type", HANDLE, [HANDLE]),
        ("ggml_backend_buffer_get_base", HANDLE, [HANDLE]),
        ("ggml_backend_buffer_get_size", SIZE, [HANDLE]),
        ("ggml_backend_buffer_clear", None, [HANDLE, ctypes.c_uint8]),
        ("ggml_backend_buffer_free", None, [HANDLE]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Libraries:
    """Functions of ggml, looked up in each library that may export them."""

    def __init__(self) -> None:
        self._handles = [api._lib]  # noqa: SLF001 - the handle has no public name
        if sys.platform == "win32":  # a handle resolves no dependencies, and wheels have no copies
            folder = library_folder()
            self._handles = [ctypes.CDLL(str(folder / f"{n}.dll")) for n in ("ggml", "ggml-base")]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - a ctypes function
        for library in self._handles:
            function = getattr(library, name, None)
            if function is not None:
                setattr(self, name, function)
                return function
        raise AttributeError(name)
