"""Values in saved cells change their layout, and nothing else changes."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_cpp import llama_cpp as api

from localrun.engine.context_params import open_context, open_stream_context
from localrun.engine.llama.library import start
from localrun.engine.llama.memory.value_layout import set_value_layout
from localrun.engine.llama.model import load_model
from localrun.engine.llama.native_context import NativeContext
from localrun.engine.params import LoadOptions
from localrun.engine.scheduler import SchedulerLimits
from localrun.errors import BackendError
from tests.engine.tiny import full_attention

if TYPE_CHECKING:
    from pathlib import Path

F32, F16, Q8_0 = api.GGML_TYPE_F32, api.GGML_TYPE_F16, api.GGML_TYPE_Q8_0
SIZES = {F32: 4, F16: 2}


@dataclass(frozen=True)
class Saved:
    """Cells as llama.cpp saves them, with numbers that tell where they belong."""

    num_cells: int
    layers: list[tuple[int, int]]  # type and dimensions
    position_bytes: int = 12

    def content(self, *, is_transposed: bool) -> bytearray:
        data = bytearray(struct.pack("<4I", 0xFEED, 3, 1, self.num_cells))
        data += bytes(range(1, 1 + self.position_bytes)) * self.num_cells
        data += struct.pack("<II", is_transposed, len(self.layers))
        for kind, width in self.layers:
            row = SIZES[kind] * width
            data += struct.pack("<IQ", kind, row) + b"\x05" * (row * self.num_cells)
        for number, (kind, width) in enumerate(self.layers):
            data += self._values(number, kind, width, is_transposed=is_transposed)
        return data

    def _values(self, number: int, kind: int, width: int, *, is_transposed: bool) -> bytes:
        size = SIZES[kind]
        numbers = np.arange(self.num_cells * width) + 1000 * number
        matrix = numbers.astype(f"u{size}").reshape(self.num_cells, width)
        if is_transposed:
            return struct.pack("<III", kind, size, width) + matrix.T.tobytes()
        return struct.pack("<IQ", kind, size * width) + matrix.tobytes()


saved_cells = st.builds(
    Saved,
    num_cells=st.integers(0, 150),
    layers=st.lists(st.tuples(st.sampled_from([F32, F16]), st.integers(1, 80)), min_size=1),
    position_bytes=st.sampled_from([12, 24]),
)


@given(saved_cells)
def test_values_are_transposed_and_back(saved: Saved) -> None:
    rows, columns = saved.content(is_transposed=False), saved.content(is_transposed=True)
    if not saved.num_cells:
        columns = bytearray(rows)  # nothing to convert
    data = bytearray(rows)

    set_value_layout(memoryview(data), is_transposed=False)
    assert data == rows
    set_value_layout(memoryview(data), is_transposed=True)
    assert data == columns
    set_value_layout(memoryview(data), is_transposed=False)
    assert data == rows


@given(saved_cells, st.data())
def test_another_format_is_an_error_and_never_a_crash(saved: Saved, data: st.DataObject) -> None:
    whole = saved.content(is_transposed=False)
    cut = bytearray(whole[: data.draw(st.integers(16, len(whole)))])
    if len(cut) == len(whole) or not saved.num_cells:
        return

    with pytest.raises(BackendError, match="format"):
        set_value_layout(memoryview(cut), is_transposed=True)


def test_cells_without_values_are_an_error() -> None:
    whole = Saved(1, [(F32, 1), (F32, 1)], 12).content(is_transposed=False)
    keys = bytearray(whole[: len(whole) - 2 * (12 + 4)])

    with pytest.raises(BackendError, match="format"):
        set_value_layout(memoryview(keys), is_transposed=True)


def test_quantized_values_are_an_error() -> None:
    data = Saved(4, [(F32, 8)]).content(is_transposed=False)
    at = len(data) - 4 * 8 * 4 - 12
    data[at : at + 4] = struct.pack("<I", Q8_0)

    with pytest.raises(BackendError, match="format"):
        set_value_layout(memoryview(data), is_transposed=True)


def test_cells_of_llama_cpp_move_to_a_context_without_flash_attention_and_back(
    guide_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    full_attention(path, guide_path)
    model = load_model([path], native_log=start(), num_gpu_layers=0, on_progress=lambda _: None)
    limits = SchedulerLimits(num_slots=2, num_cells=256)
    options = LoadOptions()
    unified = NativeContext(open_context(model, limits, 1, options))
    handle = open_stream_context(model, limits, 1, options, 256, is_transposed=True)
    assert handle is not None
    streams = NativeContext(handle, num_streams=2, is_transposed=True)
    tokens = (llama_cpp.llama_token * 70)(*range(300, 370))
    assert llama_cpp.llama_decode(unified.handle, llama_cpp.llama_batch_get_one(tokens, 70)) == 0
    data = unified.save_sequence(0)
    length = len(data)

    assert streams.restore_sequence(1, data)
    back = bytearray(streams.save_sequence(1))

    back[4:8] = data[4:8]  # the sequence ids, also of each cell
    for cell in range(70):
        back[24 + 12 * cell : 28 + 12 * cell] = data[24 + 12 * cell : 28 + 12 * cell]
    assert len(back) == length
    assert bytes(back) == data
    streams.close()
    unified.close()
    model.close()
