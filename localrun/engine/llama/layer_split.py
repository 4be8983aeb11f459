"""How layers are divided between devices, in llama.cpp's terms."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import llama_cpp
from llama_cpp import llama_cpp as api


@dataclass(slots=True)
class TensorSplit:
    """Shares of the GPUs, and the layers whose experts stay with the processor.

    llama.cpp reads the arrays while it loads; they live as long as this object.
    """

    shares: tuple[float, ...] = ()
    num_host_experts: int = 0
    _kept: list[object] = field(default_factory=list)

    def apply(self, params: Any) -> None:  # noqa: ANN401 - a struct
        """Write it into the parameters of a model."""
        if self.shares:
            most = llama_cpp.llama_max_devices()
            array = (ctypes.c_float * most)(*self.shares[:most])
            params.tensor_split = array
            self._kept.append(array)
        if self.num_host_experts:
            overrides = _overrides(self.num_host_experts)
            params.tensor_buft_overrides = ctypes.addressof(overrides)
            self._kept.append(overrides)


class _Override(ctypes.Structure):
    """``llama_model_tensor_buft_override``."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


def _overrides(num_layers: int) -> ctypes.Array[_Override]:
    """Return the list, ended by an empty one, that keeps experts of the first layers here."""
    library = api._lib  # noqa: SLF001 - as in library.py
    library.ggml_backend_cpu_buffer_type.restype = ctypes.c_void_p
    numbers = "|".join(map(str, range(num_layers)))
    pattern = rf"^blk\.({numbers})\.ffn_.*_exps\.".encode()
    first = _Override(pattern, library.ggml_backend_cpu_buffer_type())
    return (_Override * 2)(first, _Override(None, None))


EVEN_SPLIT = TensorSplit()
