"""llama.cpp's RPC backend: devices of another process, and the server at the other end.

A build has the backend linked or as a module, `libggml-rpc.so`, or not at all. It has no device
until an endpoint is added. A server answers one connection at a time, and the next one hears
nothing, so the client opens exactly one: a backend that is kept holds it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from localrun.engine.llama import ggml
from localrun.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NAME = "RPC"
FILES = ("libggml-rpc.so", "libggml-rpc.dylib", "ggml-rpc.dll")
HANDLE, TEXT, SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
_kept: list[object] = []  # backends that hold the connections, until the process ends


def load_rpc() -> None:
    """Load the backend.

    Raises:
        BackendError: this build of llama.cpp has none.
    """
    if ggml.backend_handle(NAME):
        return
    file = module_file(ggml.library_folder())
    if file is None or ggml.load_module(file) is None:
        raise BackendError(
            "this build of llama.cpp cannot serve or use workers: it has no RPC backend",
            hint="localrun help workers   has the command that compiles it",
        )


def module_file(folder: Path) -> Path | None:
    """Return the file of the backend in llama.cpp's folder, or None."""
    return next((folder / name for name in FILES if (folder / name).is_file()), None)


def add_endpoint(endpoint: str) -> list[str]:
    """Connect to a server, and return llama.cpp's names of its devices; blocks.

    llama.cpp aborts the process if the server does not answer as it must.

    Raises:
        BackendError: the server has no device.
    """
    functions, registry = ggml.ggml_functions(), ggml.backend_handle(NAME)
    init = ctypes.CFUNCTYPE(HANDLE, TEXT, ctypes.c_uint32)(_symbol("ggml_backend_rpc_init"))
    add = ctypes.CFUNCTYPE(HANDLE, TEXT)(
        functions.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_rpc_add_server")
    )
    _kept.append(init(endpoint.encode(), 0))
    added = add(endpoint.encode())
    if not added:
        raise BackendError("the worker has no device")
    functions.ggml_backend_register(added)
    count = int(functions.ggml_backend_reg_dev_count(added))
    handles = [functions.ggml_backend_reg_dev_get(added, index) for index in range(count)]
    return [functions.ggml_backend_dev_name(handle).decode(errors="replace") for handle in handles]


def buffer_owner(endpoint: str, index: int) -> str:
    """Return how llama.cpp's log names the buffers of a server's device."""
    return f"{NAME}{index}[{endpoint}]"


def serve(endpoint: str, num_threads: int, devices: Sequence[str]) -> None:
    """Answer connections with the named devices; returns only if the address is taken.

    llama.cpp prints to stdout.
    """
    functions, array = ggml.ggml_functions(), ggml.handles(tuple(devices))
    signature = ctypes.CFUNCTYPE(None, TEXT, TEXT, SIZE, SIZE, HANDLE)
    start = signature(
        functions.ggml_backend_reg_get_proc_address(
            ggml.backend_handle(NAME), b"ggml_backend_rpc_start_server"
        )
    )
    start(endpoint.encode(), None, num_threads, len(devices), ggml.address(array))


def _symbol(name: str) -> Any:  # noqa: ANN401 - an address
    """Return the address of a function that only the backend's own library exports."""
    try:
        function = getattr(ggml.ggml_functions(), name)
    except AttributeError:  # llama.cpp is not linked with it: it was loaded from its file
        function = getattr(ctypes.CDLL(str(module_file(ggml.library_folder()))), name)
    return ctypes.cast(function, HANDLE).value
