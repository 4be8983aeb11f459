"""Placement of a model's layers: devices, tensor split and buffer type overrides of a load.

A model on the CPU alone is loaded with split mode "none" and main_gpu -1: with no layers
offloaded but the GPU still in llama.cpp's list, llama.cpp would allocate memory there and
compute large batches on it.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.llama import ggml
from localrun.engine.params import SplitMode
from localrun.hardware.choice import AUTO, choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.engine.params import LoadOptions
    from localrun.hardware.device import Device

ALL_LAYERS = 999
SPLIT_MODES = {
    SplitMode.NONE: api.LLAMA_SPLIT_MODE_NONE,
    SplitMode.LAYER: api.LLAMA_SPLIT_MODE_LAYER,
    SplitMode.ROW: api.LLAMA_SPLIT_MODE_ROW,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Devices that get layers; ``array`` must live until the model is loaded."""

    devices: tuple[Device, ...]
    array: object


def with_devices(options: LoadOptions, text: str) -> LoadOptions:
    """Return the options with the devices that ``text`` names, unless they name devices already.

    Raises:
        UsageError: this machine has no such device.
    """
    if options.devices is not None:
        return options
    devices = choose(ggml.devices(), text, os.environ)
    return replace(options, devices=tuple(device.name for device in devices))


def place(
    params: Any,  # noqa: ANN401 - a ctypes structure
    options: LoadOptions,
    num_gpu_layers: int,
    names_of_workers: Mapping[str, str] | None = None,
) -> Placement:
    """Write the devices into llama.cpp's parameters; ``num_gpu_layers`` -1 means all.

    ``names_of_workers`` has the names of the workers' devices by llama.cpp's.

    Raises:
        BackendError: a device no longer exists.
    """
    names = with_devices(options, AUTO).devices if num_gpu_layers else ()
    if not names:
        params.n_gpu_layers, params.split_mode, params.main_gpu = 0, api.LLAMA_SPLIT_MODE_NONE, -1
        return Placement((), None)
    array = ggml.handles(names)
    params.devices = ggml.address(array)
    params.n_gpu_layers = ALL_LAYERS if num_gpu_layers < 0 else num_gpu_layers
    if options.split_mode is not None:
        params.split_mode = SPLIT_MODES[options.split_mode]
    if options.main_gpu is not None:
        params.main_gpu = max(0, min(options.main_gpu, len(names) - 1))
    by_name = {device.name: device for device in ggml.devices()}
    return Placement(tuple(_named(by_name[name], names_of_workers or {}) for name in names), array)


def _named(device: Device, names_of_workers: Mapping[str, str]) -> Device:
    """Return a device; that of a worker has the worker's name instead of a port."""
    name = names_of_workers.get(device.name)
    return device if name is None else replace(device, name=name, description=name)


@dataclass(slots=True)
class TensorSplit:
    """Shares of the GPUs (``tensor_split``), and the layers whose experts stay on the CPU.

    llama.cpp reads the arrays while it loads; they live as long as this object.
    """

    shares: tuple[float, ...] = ()
    num_host_experts: int = 0
    keeps_output: bool = False  # in the host's memory
    _arrays: list[object] = field(default_factory=list)

    def apply(self, params: Any) -> None:  # noqa: ANN401 - a ctypes structure
        """Write the split into the parameters of a model."""
        if self.shares:
            max_devices = llama_cpp.llama_max_devices()
            array = (ctypes.c_float * max_devices)(*self.shares[:max_devices])
            params.tensor_split = array
            self._arrays.append(array)
        patterns = _host_patterns(self.num_host_experts, keeps_output=self.keeps_output)
        if patterns:
            overrides = _host_overrides(patterns)
            params.tensor_buft_overrides = ctypes.addressof(overrides)
            self._arrays.append(overrides)


EVEN_SPLIT = TensorSplit()


class _Override(ctypes.Structure):
    """``llama_model_tensor_buft_override``."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


def _host_patterns(num_expert_layers: int, *, keeps_output: bool) -> list[str]:
    """Return patterns of the tensors that stay on the CPU, though their layers do not."""
    patterns = []
    if num_expert_layers:
        numbers = "|".join(map(str, range(num_expert_layers)))
        patterns.append(rf"^blk\.({numbers})\.ffn_.*_exps\.")
    if keeps_output:
        patterns.append(r"^(output|token_embd)")  # the norm before the matrix, too
    return patterns


def _host_overrides(patterns: Sequence[str]) -> ctypes.Array[_Override]:
    """Return the NULL-terminated overrides that keep tensors in the host's memory."""
    library = api._lib  # noqa: SLF001 - the handle has no public name
    library.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
    buffer_type = library.ggml_backend_cpu_buffer_type()
    overrides = [_Override(pattern.encode(), buffer_type) for pattern in patterns]
    return (_Override * (len(overrides) + 1))(*overrides, _Override(None, None))
