"""Quantize child process: runs llama.cpp, and reads its progress from its log."""

from __future__ import annotations

import ctypes
import os
import re
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp
from llama_cpp import llama_cpp as api

from localrun.engine.llama.library import start
from localrun.engine.quantizing.imatrix_file import fitting_entries, read_index
from localrun.engine.quantizing.imatrix_values import importance
from localrun.engine.quantizing.quantize_job import QuantizeJob
from localrun.engine.quantizing.types import NUMBERS
from localrun.errors import LocalrunError
from localrun.hardware.cpu import usable_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from localrun.engine.llama.task_channel import TaskChannel
    from localrun.engine.quantizing.imatrix_file import ImatrixIndex

MAX_BUFFER_BYTES = 1024**3  # of rows in memory; llama.cpp's own default is 8 GiB
LONGEST_TEXT = 127  # bytes of a value that llama.cpp takes for a key
TENSOR = re.compile(r"\[ *(\d+)/ *(\d+)\] ")
TOTAL = re.compile(r"quant size .*\(([\d.]+) BPW\)")
FALLBACKS = re.compile(r"(\d+) of \d+ tensor\(s\) required fallback")
PUNCTUATION = frozenset(string.punctuation) - {"_"}
NO_TYPE = 43  # GGML_TYPE_COUNT


def run_quantizer(channel: TaskChannel) -> int:
    """Quantize, and return the exit code."""
    job = QuantizeJob(**channel.read_job())
    channel.on_abandon(lambda: Path(job.output).unlink(missing_ok=True))
    progress = _LogProgress(channel)
    native_log = start(progress.read_line, backends=())
    try:
        arguments = _Arguments(job)
    except (LocalrunError, ValueError, OSError) as error:
        return channel.fail(f"{job.imatrix}: {error}")
    status = llama_cpp.llama_model_quantize(
        os.fsencode(job.source), os.fsencode(job.output), ctypes.byref(arguments.params)
    )
    if status != 0:
        complaint = native_log.last_complaint() or "llama.cpp gives no reason"
        return channel.fail(complaint.rpartition("failed to quantize: ")[2])
    return progress.finish()


class _LogProgress:
    """Messages to the parent, parsed from llama.cpp's log."""

    def __init__(self, channel: TaskChannel) -> None:
        self._channel = channel
        self._num_tensors = 0
        self._bits_per_weight = 0.0
        self._num_fallbacks = 0

    def read_line(self, line: str) -> None:
        if tensor := TENSOR.match(line):
            self._num_tensors = int(tensor[2])
            self._channel.send(done=int(tensor[1]) - 1, of=self._num_tensors)
        elif total := TOTAL.search(line):
            self._bits_per_weight = float(total[1])
        elif fallbacks := FALLBACKS.search(line):
            self._num_fallbacks = int(fallbacks[1])

    def finish(self) -> int:
        self._channel.send(done=self._num_tensors, of=self._num_tensors)
        return self._channel.finish(
            bits_per_weight=self._bits_per_weight, num_fallbacks=self._num_fallbacks
        )


class _Arguments:
    """llama.cpp's parameters, with the arrays that they point to.

    Raises:
        LocalrunError: the importance matrix is damaged, or belongs to another model.
        ValueError: it has a value that is negative or not a number.
        OSError: it cannot be read.
    """

    def __init__(self, job: QuantizeJob) -> None:
        self.params = params = api.llama_model_quantize_default_params()
        params.ftype = job.file_type
        params.nthread = job.threads or usable_threads()
        params.allow_requantize = job.allows_quantized
        params.pure = job.is_pure
        params.max_buf_size = MAX_BUFFER_BYTES
        if job.output_type is not None:
            params.output_tensor_type = NUMBERS[job.output_type]
        if job.embedding_type is not None:
            params.token_embedding_type = NUMBERS[job.embedding_type]
        if job.types:
            self._types = _type_array(job.types)
            params.tt_overrides = self._types
        if job.imatrix is not None:
            self._set_imatrix(Path(job.imatrix), job.imatrix_sizes)

    def _set_imatrix(self, path: Path, sizes: Mapping[str, Sequence[int]]) -> None:
        index = read_index(path)
        names = list(fitting_entries(index, {name: tuple(size) for name, size in sizes.items()}))
        with path.open("rb") as file:
            self._values = [importance(file, index.entries[name]) for name in names]
        self._entries = (api.llama_model_imatrix_data * (len(names) + 1))()
        for entry, name, values in zip(self._entries[:-1], names, self._values, strict=True):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        self.params.imatrix = self._entries
        self._keys = _key_array(_stated(index, len(names)))
        self.params.kv_overrides = self._keys


def _type_array(types: Mapping[str, str]) -> Any:  # noqa: ANN401 - a ctypes array
    """Return the types by patterns that match one name each, and the end of the array."""
    array = (api.llama_model_tensor_override * (len(types) + 1))()
    for override, (name, type_name) in zip(array[:-1], types.items(), strict=True):
        override.pattern, override.type = _exactly(name).encode(), NUMBERS[type_name]
    array[len(types)].type = NO_TYPE
    return array


def _exactly(name: str) -> str:
    """Return a regular expression of C++ for one name."""
    letters = (f"\\{letter}" if letter in PUNCTUATION else letter for letter in name)
    return f"^{''.join(letters)}$"


def _stated(index: ImatrixIndex, num_entries: int) -> dict[str, str | int]:
    """Return what llama.cpp's own tool notes in a file about its importance matrix."""
    keys: dict[str, str | int] = {"quantize.imatrix.file": index.path.name}
    if index.datasets:
        keys["quantize.imatrix.dataset"] = index.datasets[0]
    keys["quantize.imatrix.entries_count"] = num_entries
    if index.num_chunks:
        keys["quantize.imatrix.chunks_count"] = index.num_chunks
    return keys


def _key_array(keys: Mapping[str, str | int]) -> Any:  # noqa: ANN401 - a ctypes array
    array = (api.llama_model_kv_override * (len(keys) + 1))()
    for override, (key, value) in zip(array[:-1], keys.items(), strict=True):
        override.key = key.encode()
        if isinstance(value, str):
            override.tag = api.LLAMA_KV_OVERRIDE_TYPE_STR
            override.value.val_str = value.encode()[:LONGEST_TEXT].decode(errors="ignore").encode()
        else:
            override.tag = api.LLAMA_KV_OVERRIDE_TYPE_INT
            override.value.val_i64 = value
    return array
