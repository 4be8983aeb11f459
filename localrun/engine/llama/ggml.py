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

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.backends.manifest import EngineBuild
from localrun.errors import BackendError
from localrun.hardware.device import Device, DeviceKind

KINDS = (DeviceKind.CPU, DeviceKind.GPU, DeviceKind.IGPU, DeviceKind.ACCEL)  # ggml's numbers
BACKENDS = {"MTL": "Metal"}  # common names of backends that ggml names otherwise
HANDLE, TEXT, SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
NO_MODULES = frozenset({"libggml", "libggml-base", "ggml", "ggml-base"})
NO_GPU = ("cpu", "rpc")  # beginnings of names of modules: RPC's devices are workers
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


def num_backends() -> int:
    """Return the number of loaded backends; 0 at first if llama.cpp loads them from files."""
    return int(ggml_functions().ggml_backend_reg_count())


def backend_names() -> list[str]:
    """Return the common names of the loaded backends, in lower case."""
    names = (_text(name) for name in _backend_names())
    return [BACKENDS.get(name, name).lower() for name in names]


def backend_handle(name: str) -> int | None:
    """Return the address of a loaded backend's registration, or None if it is not loaded."""
    address: int | None = ggml_functions().ggml_backend_reg_by_name(name.encode())
    return address


def features(name: str) -> dict[str, str]:
    """Return what a loaded backend states about its build; nothing if it states nothing."""
    ggml, handle = ggml_functions(), backend_handle(name)
    if not handle:
        return {}
    address = ggml.ggml_backend_reg_get_proc_address(handle, b"ggml_backend_get_features")
    if not address:
        return {}
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(TEXT * 2), HANDLE)(address)(handle)
    stated = {}
    for feature in listed:  # endless: the last one has no name
        if feature[0] is None:
            break
        stated[_text(feature[0])] = _text(feature[1])
    return stated


def engine_build() -> EngineBuild:
    """Return the build of llama.cpp in this process."""
    ggml = ggml_functions()
    return EngineBuild(
        llama_cpp_python=llama_cpp.__version__,
        ggml=_text(ggml.ggml_version()),
        commit=_text(ggml.ggml_commit()),
    )


def module_files() -> list[tuple[str, Path]]:
    """Return the files of backends for GPUs in llama.cpp's own folder."""
    files = []
    for file in sorted(library_folder().glob(f"*ggml-*{SUFFIXES.get(sys.platform, '.so')}")):
        backend = file.stem.removeprefix("lib").removeprefix("ggml-")
        if file.stem not in NO_MODULES and not backend.startswith(NO_GPU):
            files.append((backend, file))
    return files


def load_module(file: Path) -> int | None:
    """Load a backend from a file; return the number of its devices, or None if it fails."""
    ggml = ggml_functions()
    backend = ggml.ggml_backend_load(os.fsencode(file))
    if not backend:
        return None
    props = _Props()
    num_devices = int(ggml.ggml_backend_reg_dev_count(backend))
    for index in range(num_devices):  # drivers that fail, fail here
        ggml.ggml_backend_dev_get_props(
            ggml.ggml_backend_reg_dev_get(backend, index), ctypes.byref(props)
        )
    return num_devices


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


def function_address(function: Any) -> int | None:  # noqa: ANN401 - a ctypes function
    """Return the address of a function, for a field of a structure."""
    return ctypes.cast(function, HANDLE).value


def library_folder() -> Path:
    """Return the folder of llama.cpp's libraries and backends."""
    return Path(api._base_path).absolute()  # noqa: SLF001 - it has no public name


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
        ("ggml_version", TEXT, []),
        ("ggml_commit", TEXT, []),
        ("ggml_backend_load", HANDLE, [TEXT]),
        ("ggml_backend_reg_count", SIZE, []),
        ("ggml_backend_reg_get", HANDLE, [SIZE]),
        ("ggml_backend_reg_by_name", HANDLE, [TEXT]),
        ("ggml_backend_reg_get_proc_address", HANDLE, [HANDLE, TEXT]),
        ("ggml_threadpool_params_init", None, [HANDLE, ctypes.c_int]),
        ("llama_attach_threadpool", None, [HANDLE, HANDLE, HANDLE]),
        ("ggml_backend_reg_name", TEXT, [HANDLE]),
        ("ggml_backend_register", None, [HANDLE]),
        ("ggml_backend_dev_name", TEXT, [HANDLE]),
        ("ggml_backend_reg_dev_count", SIZE, [HANDLE]),
        ("ggml_backend_reg_dev_get", HANDLE, [HANDLE, SIZE]),
        ("ggml_backend_dev_count", SIZE, []),
        ("ggml_backend_dev_get", HANDLE, [SIZE]),
        ("ggml_backend_dev_by_name", HANDLE, [TEXT]),
        ("ggml_backend_dev_backend_reg", HANDLE, [HANDLE]),
        ("ggml_backend_dev_init", HANDLE, [HANDLE, TEXT]),
        ("ggml_backend_free", None, [HANDLE]),
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
        ("ggml_backend_tensor_get", None, [HANDLE, HANDLE, SIZE, SIZE]),
        ("ggml_get_name", HANDLE, [HANDLE]),
        ("ggml_nbytes", SIZE, [HANDLE]),
        ("ggml_op_name", TEXT, [ctypes.c_int]),
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
