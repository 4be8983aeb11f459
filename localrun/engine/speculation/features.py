"""What a context outputs of each token for the layers or heads that draft: rows of floats.

MTP layers take the hidden state behind the last layer. EAGLE-3 heads take the inputs of a few
layers, side by side. The functions are llama.cpp's experimental ones (``llama-ext.h``).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Protocol

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as api
from llama_cpp import llama_cpp_ext as ext

from localrun.errors import BackendError, LoadError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localrun.engine.llama.model import Model


class Features(Protocol):
    """Rows that a context outputs, one for each token of a step."""

    width: int  # elements of a row

    def keep(self, handle: object) -> None:
        """Let a context output the rows of all tokens that it computes."""

    def read(self, handle: object, num_tokens: int) -> np.ndarray:
        """Return the rows of the last step, shape (num_tokens, width).

        Raises:
            BackendError: llama.cpp has none.
        """


class HiddenStates:
    """The hidden states behind the last layer."""

    def __init__(self, model: Model) -> None:
        self.width = int(llama_cpp.llama_model_n_embd_out(model.handle))

    def keep(self, handle: object) -> None:
        """Let a context output the rows; masked, llama.cpp mixes them up."""
        ext.llama_set_embeddings_nextn(handle, True, False)  # noqa: FBT003 - a C function

    def read(self, handle: object, num_tokens: int) -> np.ndarray:
        """Return a view of the rows of the last step."""
        return _rows(ext.llama_get_embeddings_nextn(handle), num_tokens, self.width)


class LayerInputs:
    """The inputs of some layers, side by side.

    The number of layers, in place of a layer, is the hidden state behind the last one.
    """

    def __init__(self, model: Model, layers: Sequence[int]) -> None:
        self._last = HiddenStates(model)
        self._num_layers = int(llama_cpp.llama_model_n_layer(model.handle))
        self._layer_width = int(llama_cpp.llama_model_n_embd(model.handle))
        self._layers = tuple(layers)
        self.width = self._layer_width * len(self._layers)

    def keep(self, handle: object) -> None:
        """Let a context output the rows."""
        for layer in self._layers:
            if layer == self._num_layers:
                self._last.keep(handle)
            else:
                _set_layer_input()(handle, layer, True)  # noqa: FBT003 - a C function

    def read(self, handle: object, num_tokens: int) -> np.ndarray:
        """Return the rows of the last step."""
        parts = [
            self._last.read(handle, num_tokens)
            if layer == self._num_layers
            else _rows(_get_layer_input()(handle, layer), num_tokens, self._layer_width)
            for layer in self._layers
        ]
        return np.concatenate(parts, axis=1)


def target_layers(head: Model) -> tuple[int, ...]:
    """Return the layers of the model whose inputs a head takes.

    Raises:
        LoadError: this build of llama.cpp has no such functions.
    """
    count = int(_num_target_layers()(head.handle))
    pointer = _target_layers()(head.handle)
    return tuple(int(pointer[number]) for number in range(count))


def _rows(pointer: Any, num_tokens: int, width: int) -> np.ndarray:  # noqa: ANN401 - ctypes
    if not pointer:
        raise BackendError("llama.cpp has no hidden states for draft tokens")
    return np.ctypeslib.as_array(pointer, (num_tokens, width))


def _set_layer_input() -> Any:  # noqa: ANN401 - ctypes
    return _function(
        "_Z30llama_set_embeddings_layer_inpP13llama_contextjb",
        "?llama_set_embeddings_layer_inp@@YAXPEAUllama_context@@I_N@Z",
        arguments=[api.llama_context_p_ctypes, ctypes.c_uint32, ctypes.c_bool],
    )


def _get_layer_input() -> Any:  # noqa: ANN401 - ctypes
    return _function(
        "_Z30llama_get_embeddings_layer_inpP13llama_contextj",
        "?llama_get_embeddings_layer_inp@@YAPEAMPEAUllama_context@@I@Z",
        arguments=[api.llama_context_p_ctypes, ctypes.c_uint32],
        result=ctypes.POINTER(ctypes.c_float),
    )


def _target_layers() -> Any:  # noqa: ANN401 - ctypes
    return _function(
        "_Z28llama_model_target_layer_idsPK11llama_model",
        "?llama_model_target_layer_ids@@YAPEBHPEBUllama_model@@@Z",
        arguments=[api.llama_model_p_ctypes],
        result=ctypes.POINTER(ctypes.c_int32),
    )


def _num_target_layers() -> Any:  # noqa: ANN401 - ctypes
    return _function(
        "_Z30llama_model_target_layer_ids_nPK11llama_model",
        "?llama_model_target_layer_ids_n@@YAIPEBUllama_model@@@Z",
        arguments=[api.llama_model_p_ctypes],
        result=ctypes.c_uint32,
    )


def _function(*names: str, arguments: list[Any], result: Any = None) -> Any:  # noqa: ANN401 - ctypes
    """Return a function of the library by the first of its symbols: C++ mangles names by ABI."""
    for name in names:
        try:
            function = getattr(ext._lib, name)  # noqa: SLF001 - the binding lacks the function
        except AttributeError:
            continue
        function.argtypes, function.restype = arguments, result
        return function
    raise LoadError(f"this build of llama.cpp lacks {names[0]}, which EAGLE-3 heads need")
