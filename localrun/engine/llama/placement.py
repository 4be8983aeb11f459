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


def place(params: Any, options: LoadOptions, num_gpu_layers: int) -> Placement:  # noqa: ANN401 - a ctypes structure
    """Write the devices into llama.cpp's parameters; ``num_gpu_layers`` -1 means all.

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
    return Placement(tuple(by_name[name] for name in names), array)


@dataclass(slots=True)
class TensorSplit:
    """Shares of the GPUs (``tensor_split``), and the layers whose experts stay on the CPU.

    llama.cpp reads the arrays while it loads; they live as long as this object.
    """

    shares: tuple[float, ...] = ()
    num_host_experts: int = 0
    _arrays: list[object] = field(default_factory=list)

    def apply(self, params: Any) -> None:  # noqa: ANN401 - a ctypes structure
        """Write the split into the parameters of a model."""
        if self.shares:
            max_devices = llama_cpp.llama_max_devices()
            array = (ctypes.c_float * max_devices)(*self.shares[:max_devices])
            params.tensor_split = array
            self._arrays.append(array)
        if self.num_host_experts:
            overrides = _expert_overrides(self.num_host_experts)
            params.tensor_buft_overrides = ctypes.addressof(overrides)
            self._arrays.append(overrides)


EVEN_SPLIT = TensorSplit()


class _Override(ctypes.Structure):
    """``llama_model_tensor_buft_override``."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


def _expert_overrides(num_layers: int) -> ctypes.Array[_Override]:
    """Return the NULL-terminated overrides that keep the experts of the first layers on the CPU."""
    library = api._lib  # noqa: SLF001 - the handle has no public name
    library.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
    numbers = "|".join(map(str, range(num_layers)))
    pattern = rf"^blk\.({numbers})\.ffn_.*_exps\.".encode()
    override = _Override(pattern, library.ggml_backend_cpu_buffer_type())
    return (_Override * 2)(override, _Override(None, None))
