"""Loaded GGUF model: weights, metadata and, by inheritance, its vocabulary.

Knows nothing of contexts and sequences. Safe to use from any thread once loaded, except that
LoRA adapters are loaded and freed on the engine thread.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.backends import rpc
from localrun.engine.cache.kv_cache import MemoryKind
from localrun.engine.llama.memory.huge_pages import HugePages
from localrun.engine.llama.placement import EVEN_SPLIT, TensorSplit, place
from localrun.engine.llama.read_ahead import start_read_ahead
from localrun.engine.llama.vocabulary import Vocabulary
from localrun.engine.params import LoadOptions, Pooling
from localrun.errors import LoadError
from localrun.gguf.role import only_embeds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from localrun.engine.llama.library import NativeLog
    from localrun.hardware.device import Device

VALUE_BYTES = 256
POOLINGS = {"1": Pooling.MEAN, "2": Pooling.CLS, "3": Pooling.LAST, "4": Pooling.RANK}
DEFAULT_OPTIONS = LoadOptions()


class Model(Vocabulary):
    """Weights and metadata of a model; tokenizers take it as their vocabulary."""

    def __init__(self, handle: object, devices: tuple[Device, ...] = ()) -> None:
        super().__init__(handle)
        self.handle = handle
        self.devices = devices  # those with layers; empty if all layers are on the CPU

    @property
    def cards(self) -> tuple[Device, ...]:
        """Return the devices with layers that are this machine's, and no worker's."""
        return tuple(device for device in self.devices if device.backend != rpc.NAME)

    @property
    def trained_context(self) -> int:
        """Return the context length of the training, in tokens."""
        return int(llama_cpp.llama_model_n_ctx_train(self.handle))

    @property
    def shares_cells(self) -> bool:
        """Return whether sequences can share the cells of a common prefix.

        Only full attention allows that: recurrent and hybrid models have one state per sequence
        without prefixes, and sliding-window attention drops the beginning.
        """
        return self.memory.is_plain

    @property
    def memory(self) -> MemoryKind:
        """Return which kinds of memory the model keeps for a sequence."""
        is_recurrent = bool(llama_cpp.llama_model_is_recurrent(self.handle))
        return MemoryKind(
            has_cells=not is_recurrent,
            has_window=llama_cpp.llama_model_n_swa(self.handle) > 0,
            has_state=is_recurrent or bool(llama_cpp.llama_model_is_hybrid(self.handle)),
        )

    @property
    def only_embeds(self) -> bool:
        """Return whether the model computes embeddings or ranks and generates no text."""
        pooling = self.metadata(f"{self.metadata('general.architecture')}.pooling_type")
        number = int(pooling) if pooling.isdecimal() else None
        return only_embeds(self.metadata("general.architecture"), number)

    @property
    def has_encoder(self) -> bool:
        """Return whether the model is an encoder-decoder (T5)."""
        return bool(llama_cpp.llama_model_has_encoder(self.handle))

    @property
    def pooling(self) -> Pooling | None:
        """Return the pooling stated in the GGUF file, or None."""
        pooling = self.metadata(f"{self.metadata('general.architecture')}.pooling_type")
        return POOLINGS.get(pooling)

    @property
    def embedding_length(self) -> int:
        """Return the number of dimensions of an embedding."""
        return int(llama_cpp.llama_model_n_embd_out(self.handle))

    @property
    def class_labels(self) -> list[str]:
        """Return the labels of the outputs of a rerank head, "" for an unnamed output."""
        labels = (
            llama_cpp.llama_model_cls_label(self.handle, index)
            for index in range(llama_cpp.llama_model_n_cls_out(self.handle))
        )
        return [label.decode(errors="replace") if label else "" for label in labels]

    @property
    def rerank_template(self) -> str | None:
        """Return the prompt of a pair, with ``{query}`` and ``{document}``, or None."""
        source: bytes | None = llama_cpp.llama_model_chat_template(self.handle, b"rerank")
        return source.decode(errors="replace") if source else None

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all weights."""
        return int(llama_cpp.llama_model_size(self.handle))

    @property
    def chat_template(self) -> str | None:
        """Return the Jinja source of the chat template in the file, or None."""
        source: bytes | None = llama_cpp.llama_model_chat_template(self.handle, None)
        return source.decode(errors="replace") if source else None

    def metadata(self, key: str) -> str:
        """Return a metadata value of the GGUF header as text, "" if the key is missing."""
        buffer = ctypes.create_string_buffer(VALUE_BYTES)
        length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, VALUE_BYTES)
        return buffer.value.decode(errors="replace") if length >= 0 else ""

    def load_adapter(self, path: Path) -> object:
        """Load a LoRA adapter; it is freed with the model at the latest.

        Raises:
            LoadError: llama.cpp refuses the file: damaged, or made for another model.
        """
        handle = llama_cpp.llama_adapter_lora_init(self.handle, os.fsencode(path))
        if not handle:
            raise LoadError(
                f"the adapter {path.name} does not fit the model",
                hint="localrun create -f Modelfile   checks adapters and reports the reason",
            )
        return handle

    def free_adapter(self, handle: object) -> None:
        """Free an adapter that no context uses."""
        llama_cpp.llama_adapter_lora_free(handle)

    def close(self) -> None:
        """Free the weights; no other method may be called afterwards."""
        llama_cpp.llama_model_free(self.handle)


def load_model(  # noqa: PLR0913 - keywords only
    shards: Sequence[Path],
    *,
    native_log: NativeLog,
    num_gpu_layers: int,
    options: LoadOptions = DEFAULT_OPTIONS,
    split: TensorSplit = EVEN_SPLIT,
    names_of_workers: Mapping[str, str] | None = None,
    has_mtp: bool = False,
    on_progress: Callable[[float], None],
) -> Model:
    """Load a GGUF file, or all shards of one in order; ``num_gpu_layers`` -1 means all.

    ``names_of_workers`` has the names of the workers' devices by llama.cpp's. With ``has_mtp``
    its layers that predict further tokens are loaded too, and must be in the file.

    Raises:
        LoadError: llama.cpp refuses the file; the message has the reason in its log.
        BackendError: a device of ``options`` no longer exists.
    """
    params = llama_cpp.llama_model_default_params()
    placement = place(params, options, num_gpu_layers, names_of_workers)
    if placement.devices:
        split.apply(params)
    if options.use_mmap is not None:
        modes = (api.LLAMA_LOAD_MODE_NONE, api.LLAMA_LOAD_MODE_MMAP)
        params.load_mode = modes[options.use_mmap]
    params.load_mtp = has_mtp
    huge_pages = HugePages()

    def report(fraction: float, _data: object) -> bool:
        huge_pages.request()  # the first call comes when all buffers are allocated
        on_progress(fraction)
        return True  # continue

    callback = api.llama_progress_callback(report)
    params.progress_callback = callback
    start_read_ahead(shards)
    native_log.begin()
    handle = _load(shards, params)
    if not handle:
        raise LoadError(f"{shards[0].name} could not be loaded: {native_log.reason()}")
    return Model(handle, placement.devices)


def _load(shards: Sequence[Path], params: object) -> object:
    paths = [os.fsencode(path) for path in shards]
    if len(paths) == 1:
        return llama_cpp.llama_model_load_from_file(paths[0], params)
    array = (ctypes.c_char_p * len(paths))(*paths)
    return llama_cpp.llama_model_load_from_splits(array, len(paths), params)
