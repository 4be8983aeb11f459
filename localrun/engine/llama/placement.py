"""Where the layers go: the devices of the options, in the parameters of a load.

The processor alone is split mode "none" with main_gpu -1: with no layers on a GPU, but the
GPU in llama.cpp's list, it would still take memory there and compute large batches on it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
    """The devices that get layers; ``array`` must live until the model is loaded."""

    devices: tuple[Device, ...]
    array: object


def chosen(options: LoadOptions, text: str) -> LoadOptions:
    """Return the options with their devices named; those that are named already stay.

    Raises:
        UsageError: this machine has no device that ``text`` means.
    """
    if options.devices is not None:
        return options
    found = choose(ggml.devices(), text, os.environ)
    return replace(options, devices=tuple(device.name for device in found))


def place(params: Any, options: LoadOptions, num_gpu_layers: int) -> Placement:  # noqa: ANN401 - a ctypes structure
    """Write the devices into llama.cpp's parameters; ``num_gpu_layers`` -1 means all.

    Raises:
        BackendError: a device has gone.
    """
    names = chosen(options, AUTO).devices if num_gpu_layers else ()
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
